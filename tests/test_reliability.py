"""What docs/reliability.md says is counted, and what was lost is not hidden."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.reliability import Attacks, Tally, page_of

MAKEFILE = (REPOSITORY / "Makefile").read_text()
SUITE = """
import pytest
pytestmark = pytest.mark.attack("Kills")

def test_many(attack):
    with attack("one", under="here"):
        pass
    with attack("other", under="here"):
        raise ValueError

def test_one(): pass
def test_another(): assert False
def test_skipped(): pytest.skip("needs more")
"""
ROWS = """\
| Kills | 2 | 1 | 1 |
| Kills: here | 2 | 1 | 1 |
| **all** | 4 | 2 | 2 |
"""


@pytest.mark.parametrize("workers", [pytest.param("0", marks=pytest.mark.slow), "2"])
def test_what_the_tests_try_and_lose_reaches_the_page(tmp_path: Path, workers: str) -> None:
    hooks = "from tests.conftest import pytest_addoption, pytest_configure\n"
    (tmp_path / "conftest.py").write_text(hooks)
    (tmp_path / "test_some.py").write_text(SUITE)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = attack(group)\n")
    command = [sys.executable, "-m", "pytest", "-q", "-n", workers, "--reliability", "new/page.md"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    page = (tmp_path / "new" / "page.md").read_text()
    assert ROWS in page
    assert "3 tests in 0 minutes, 1 more skipped" in page


def test_pytest_takes_the_options_of_make_check_all() -> None:
    """An option of the tests' own conftest must not look like the name of a file to test."""
    recipe = re.search(r"^check-all:.*\n\t\$\(PYTEST\) (.*)$", MAKEFILE, flags=re.MULTILINE)
    assert recipe is not None
    command = [sys.executable, "-m", "pytest", *shlex.split(recipe[1]), "--markers"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_costliest_photos_are_named() -> None:
    attacks = Attacks("Photos")
    attacks.cost("quick", 0.1)
    attacks.cost("slow", 3.2)
    attacks.cost("slow", 3.1)
    attacks.cost("large", 0.2, 500.0)
    costs = [tuple(cost) for cost in attacks.to_report(failed=False)["costs"]]
    page = page_of({("Photos", "x"): Tally(1234, 1)}, costs, "some tests")
    assert "| Photos: x | 1,234 | 1,233 | 1 |" in page
    assert "The slowest photos: slow (3.20 s), large (0.20 s), quick (0.10 s)." in page
    assert "The hungriest photos: large (500 MiB)." in page
