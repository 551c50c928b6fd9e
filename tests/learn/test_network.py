from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from petclassify.learn.backbones.backbone import empty_backbone
from petclassify.learn.head.calibration import UNCALIBRATED
from petclassify.learn.head.familiarity import Familiarity
from petclassify.learn.head.logistic import Head
from petclassify.learn.network import assemble, load_checkpoint, save_checkpoint


def test_a_network_whose_layers_share_weights_is_kept_whole(tmp_path: Path) -> None:
    backbone = empty_backbone("coat_lite_tiny", 64)
    width = backbone.num_features
    head = Head(np.ones((2, width), np.float32), np.zeros(2, np.float32))
    known = Familiarity(np.ones((1, width), np.float32), 1.0, 0.5, np.ones(1))
    model = assemble(backbone, head, UNCALIBRATED, known, ("cats", "dogs"), {})
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(model, path)
    kept = load_checkpoint(path).network.state_dict()
    for name, value in model.network.state_dict().items():
        assert torch.equal(kept[name], value), name
