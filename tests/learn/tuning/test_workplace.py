from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import torch
from torch import nn

from petclassify.learn.tuning.precision import ARITHMETIC
from petclassify.learn.tuning.processes import Processes
from petclassify.learn.tuning.workplace import Workplace

arithmetic = ARITHMETIC["fp32"]
fabric = Processes("cpu").join(arithmetic)
here = Workplace(fabric, torch.contiguous_format)
norm = nn.BatchNorm2d(2).train()
norm.running_mean.fill_(here.rank)
average = {"0.running_mean": torch.full((2,), 10.0 * here.rank), "0.weight": torch.ones(2)}
here.agree_on_statistics(norm, average)
assert norm.running_mean.tolist() == [0.5, 0.5]
assert average["0.running_mean"].tolist() == [5.0, 5.0]
assert average["0.weight"].tolist() == [1.0, 1.0]
"""


def test_processes_agree_on_statistics_and_on_their_running_mean(tmp_path: Path) -> None:
    """Else each would judge its share of the photos by other statistics."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", str(script)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(launch, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
