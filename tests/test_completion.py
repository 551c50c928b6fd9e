from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

Complete = Callable[[str, Path], list[str]]

# What bash does when <Tab> is pressed: it fills in the words and calls the function.
TAB = """
source /dev/stdin
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_petclassify_completion "$PROGRAM"
printf '%s\\n' "${COMPREPLY[@]}"
"""


def asked(instruction: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "petclassify"],
        env={**os.environ, "_PETCLASSIFY_COMPLETE": instruction, **environment},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout


@pytest.fixture(scope="module")
def bash(tmp_path_factory: pytest.TempPathFactory) -> Complete:
    """What bash offers after a line, in a folder."""
    program = tmp_path_factory.mktemp("bin") / "petclassify"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m petclassify "$@"\n')
    program.chmod(0o755)
    return functools.partial(_completed, asked("source_bash"), program)


def _completed(script: str, program: Path, line: str, folder: Path) -> list[str]:
    *words, last = line.split(" ")
    done = subprocess.run(
        ["bash", "-c", TAB, "bash", *words, last],
        input=script,
        env={**os.environ, "PROGRAM": str(program), "PYTHONPATH": str(REPOSITORY)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("petclassify pre", {"predict"}),
        ("petclassify data ch", {"check"}),
        ("petclassify train --unf", {"--unfreeze"}),
        ("petclassify train --label-s", {"--label-smoothing"}),
        ("petclassify train --unfreeze ", {"none", "last", "gradual", "all"}),
        ("petclassify predict --format j", {"jsonl"}),
        ("petclassify train --weights n", {"none"}),
        ("petclassify data fetch o", {"oxford-pets"}),
        ("petclassify train fas", {"fashion-mnist"}),
        ("petclassify train --backbone zoo/den", {
            "zoo/densenet121", *(f"zoo/densenet121_{n}" for n in ("layer", "instance", "group"))
        }),
        ("petclassify compare x --networks zoo/nin,zoo/le", {"zoo/nin,zoo/lenet5"}),
    ],
)  # fmt: skip
def test_bash_completes(bash: Complete, tmp_path: Path, line: str, expected: set[str]) -> None:
    assert set(bash(line, tmp_path)) == expected


def test_networks_at_hand_come_first_and_all_of_timm_after_a_letter(
    bash: Complete, tmp_path: Path
) -> None:
    at_hand = bash("petclassify train --backbone ", tmp_path)
    assert at_hand[0] == "tf_efficientnet_lite0"
    assert len(at_hand) < 30
    assert "resnet18" in bash("petclassify train --backbone resnet1", tmp_path)


def test_a_folder_that_begins_alike_is_left_to_the_shell(bash: Complete, tmp_path: Path) -> None:
    (tmp_path / "fashion").mkdir()
    assert bash("petclassify train fas", tmp_path) == []


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_have_a_script_and_get_names(shell: str) -> None:
    assert f"complete_{shell}" in asked(f"source_{shell}")
    arguments = "petclassify train --backbone zoo/vgg1"
    offered = asked(
        f"complete_{shell}", _TYPER_COMPLETE_ARGS=arguments, _TYPER_COMPLETE_FISH_ACTION="get-args"
    )
    assert "zoo/vgg11" in offered


def test_completing_a_network_loads_no_torch() -> None:
    program = (
        "import sys; from petclassify.completion import backbones; "
        "assert 'resnet18' in backbones('r'); print({'torch', 'timm'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True)
    assert done.stdout.strip() == b"set()", done.stderr
