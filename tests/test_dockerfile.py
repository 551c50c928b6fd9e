from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY

DOCKERFILE = REPOSITORY / "Dockerfile"
TEXT = re.sub(r"\\\n\s*", " ", DOCKERFILE.read_text())
FINAL_STAGE = re.split(r"^FROM .*\n", TEXT, flags=re.MULTILINE)[-1]


def instructions(name: str, text: str = FINAL_STAGE) -> list[str]:
    return re.findall(rf"^{name} (.*)$", text, flags=re.MULTILINE)


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_image_runs_as_a_number_that_is_not_root() -> None:
    user, group = instructions("USER")[-1].split(":")
    assert int(user) > 0
    assert int(group) > 0


def test_the_health_check_asks_the_port_that_is_served() -> None:
    (check,) = instructions("HEALTHCHECK")
    (port,) = instructions("EXPOSE")
    assert f"http://127.0.0.1:{port}/livez" in check
    program = json.loads(check.partition("CMD ")[2])[2]
    compile(program, "HEALTHCHECK", "exec")


def test_both_stages_have_the_same_python() -> None:
    bases = {base.split()[0] for base in instructions("FROM", TEXT)}
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.\d+-slim", bases.pop())


def test_all_that_is_copied_reaches_the_builder() -> None:
    copied = [
        word
        for line in instructions("COPY", TEXT)
        if "--from" not in line
        for word in line.split()[:-1]
    ]
    ignored = (REPOSITORY / ".dockerignore").read_text().splitlines()
    assert copied
    for path in copied:
        assert (REPOSITORY / path).exists()
        assert f"!{path}" in ignored
