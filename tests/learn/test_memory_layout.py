from __future__ import annotations

import timm
import torch
from torch import nn

from petclassify.learn.memory_layout import laid_out_module
from petclassify.learn.tuning.cut import traced


def test_a_cut_network_with_tensors_of_five_dimensions_is_laid_out() -> None:
    """Traced, a Swin keeps the windows of its mask as such a constant."""
    swin = timm.create_model(
        "swin_tiny_patch4_window7_224", img_size=64, window_size=4, embed_dim=24, depths=(2, 2)
    ).eval()
    cut = traced(swin)
    assert cut is not None
    assert 5 in {buffer.ndim for buffer in cut.buffers()}
    pixels = torch.rand(2, 3, 64, 64)
    before = swin(pixels)
    laid = laid_out_module(cut, torch.channels_last)
    torch.testing.assert_close(laid(pixels), before)


def test_four_dimensional_weights_have_their_channels_last() -> None:
    module = laid_out_module(
        nn.Sequential(nn.Conv2d(3, 8, 5), nn.BatchNorm2d(8)), torch.channels_last
    )
    assert module[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert not module[0].weight.is_contiguous()
