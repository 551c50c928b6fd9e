from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from rich.cells import cell_len

from petclassify.learn.backbones.catalogue import Catalogue
from petclassify.printing import catalogue_lines, class_lines, comparison_lines
from petclassify.report.comparison import Compared, Comparison
from petclassify.report.metrics import measure
from tests.conftest import REPOSITORY

NAMES = ("zoo/lenet5", "zoo/densenet121_instance", "tf_efficientnet_lite0")


@pytest.fixture
def comparison() -> Comparison:
    figures = (224, 10, 1234.5, 400, 0.9, 0.25, 0.9, 0.25, 12.5, 7_000_000, 10**9, 10**7, ())
    rows = [Compared(name, "none", *figures) for name in NAMES]
    return Comparison("cats", rows, {})


def test_a_comparison_fits_80_columns_and_keeps_every_figure(comparison: Comparison) -> None:
    wide = list(comparison_lines(comparison, 200))
    narrow = list(comparison_lines(comparison, 80))
    assert len(wide) == 1 + len(NAMES)
    assert max(map(len, narrow)) <= 80 < max(map(len, wide))
    assert set(" ".join(wide).split()) == set(" ".join(narrow).split())


@pytest.mark.parametrize("width", [80, 140])
def test_the_list_of_networks_fits(width: int) -> None:
    names = tuple(f"network_with_a_long_name_{n}.in22k_ft_in1k" for n in range(20))
    *lines, _, _ = catalogue_lines(Catalogue(names, names[:2], {"family": names}), width)
    assert max(map(len, lines)) <= min(width, 120)
    assert set(names) <= set(" ".join(lines).split())


def run_on_a_terminal(folder: Path, *arguments: str, **environment: str) -> str:
    """What a command shows on a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    usual = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    usual |= {"TERM": "xterm", "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(
        [sys.executable, "-m", "petclassify", *arguments],
        env=usual | environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    ):
        os.close(theirs)
        shown = b""
        try:
            while read := os.read(ours, 65536):
                shown += read
        except OSError:  # Linux's word for the end of a terminal
            pass
    os.close(ours)
    return shown.decode()


def test_a_terminal_gets_colours_and_the_same_words_without(tmp_path: Path) -> None:
    arguments = ("train", "nowhere")
    coloured = run_on_a_terminal(tmp_path, *arguments)
    assert coloured.startswith("\x1b[31merror:\x1b[0m nowhere: does not exist")
    for plainly in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        plain = run_on_a_terminal(tmp_path, *arguments, **plainly)
        assert "\x1b" not in plain
        assert plain == coloured.replace("\x1b[31m", "").replace("\x1b[0m", "")


def test_help_on_a_terminal_has_bold_headings(tmp_path: Path) -> None:
    assert "\x1b[1mData:\x1b[0m" in run_on_a_terminal(tmp_path, "train", "--help")


def test_a_name_of_the_terminals_own_commands_is_not_obeyed_there(tmp_path: Path) -> None:
    name = "a\x1b[31mb.jpg"
    shown = run_on_a_terminal(tmp_path, "predict", name)
    assert "a\\x1b[31mb.jpg" in shown


def test_wide_names_stay_in_their_columns() -> None:
    import numpy as np

    probabilities = np.array([[0.9, 0.1], [0.2, 0.8]])
    metrics = measure(probabilities, np.array([0, 1]), ("猫", "dogs 🐶 and wolves"))
    head, *rows = class_lines(metrics)
    assert {cell_len(row) for row in rows} == {len(head)}
