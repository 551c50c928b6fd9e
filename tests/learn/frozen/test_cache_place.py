from __future__ import annotations

import os
import subprocess
import sys

import pytest

_AS_A_STRANGER = """
import os
from petclassify.learn.backbones.sources import may_be_cached
from petclassify.learn.frozen.cache_place import cache_folder
os.setuid(54321)
assert not may_be_cached("no-such-network")
cache_folder(None)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become another user")
def test_a_user_without_a_home_is_asked_for_a_folder() -> None:
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("HOME", "XDG_CACHE_HOME", "TORCH_HOME")
    } | {"HF_HUB_CACHE": "/nonexistent"}  # else root's, which was told before
    command = [sys.executable, "-c", _AS_A_STRANGER]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "EnvironmentFault: no folder for the cache is known" in done.stderr
