"""What is on this machine stays on it: no command tells anybody anything unasked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY

# Runs one command a line of stdin, in one process, which imports torch once.
_AUDITED = """
import json, os, sys

told = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)

def audit(event, given):  # forked processes inherit it
    if event in ("socket.getaddrinfo", "socket.connect", "socket.sendto", "urllib.Request"):
        os.write(told, f"{event} {given}\\n".encode())

sys.addaudithook(audit)
from petclassify.__main__ import main

for line in sys.stdin:
    sys.argv = ["petclassify", *json.loads(line)]
    try:
        main()
    except SystemExit as ended:
        if ended.code:
            raise
assert "openvino" in sys.modules, "the engine that reports to its makers was not tried"
"""
_TOLD_BY_CI = ("CI", "TF_BUILD", "JENKINS_URL")  # where OpenVINO's telemetry keeps still by itself


def test_no_command_reaches_for_the_network_or_leaves_anything_below_home_or_tmpdir(
    tmp_path: Path, drawn_pets: Path
) -> None:
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    home.mkdir()
    temporary.mkdir()
    told, run = tmp_path / "told", tmp_path / "run"
    commands: list[list[str | Path]] = [
        ["data", "check", drawn_pets, "--image-size", "64"],
        ["train", drawn_pets, "--image-size", "64", "--out", run],
        ["export", run, "--fp16-weights"],
        ["evaluate", drawn_pets, "--model", run],
        ["explain", drawn_pets / "cats" / "cat-0001.jpg", "--model", run],
        ["predict", drawn_pets, "--model", run],
        ["networks", "resnet18"],
    ]
    environment = {k: v for k, v in os.environ.items() if k not in (*_TOLD_BY_CI, "XDG_CACHE_HOME")}
    done = subprocess.run(
        [sys.executable, "-c", _AUDITED, told],
        input="".join(json.dumps([*map(str, command)]) + "\n" for command in commands),
        env=environment
        | {"HOME": str(home), "TMPDIR": str(temporary), "PYTHONPATH": str(REPOSITORY)},
        cwd=tmp_path,
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert told.read_text() == ""
    written = {path.relative_to(home).parts[:2] for path in home.rglob("*") if path.is_file()}
    assert written <= {(".cache", "petclassify"), (".cache", "matplotlib")}
    assert [*temporary.iterdir()] == []
