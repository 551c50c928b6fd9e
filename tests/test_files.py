from __future__ import annotations

from pathlib import Path

import pytest

from petclassify.errors import EnvironmentFault
from petclassify.files import write_whole, written_whole
from tests.conftest import SMALL_DISK_BYTES


@pytest.mark.attack("Disks")
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "file"
    write_whole(target, b"old")
    with pytest.raises(ZeroDivisionError), written_whole(target) as temporary:
        temporary.write_bytes(bytes(1 // (temporary.write_bytes(b"half") - 4)))
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.attack("Disks")
def test_a_missing_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault, match="there is no folder"):
        write_whole(tmp_path / "none" / "file", b"")


@pytest.mark.attack("Disks")
def test_a_full_disk_keeps_the_old_file(small_disk: Path) -> None:
    target = small_disk / "file"
    write_whole(target, b"old")
    with pytest.raises(EnvironmentFault, match="the disk is full"):
        write_whole(target, b"x" * SMALL_DISK_BYTES)
    assert target.read_bytes() == b"old"
    assert list(small_disk.iterdir()) == [target]
