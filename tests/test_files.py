from __future__ import annotations

import subprocess
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


@pytest.mark.attack("Disks")
def test_a_file_that_is_mounted_by_itself_is_one_line(tmp_path: Path) -> None:
    """As `docker run -v FILE:FILE` mounts it; nothing can take its place."""
    target, other = tmp_path / "file", tmp_path / "other"
    for path in (target, other):
        path.write_bytes(b"old")
    mount = ["mount", "--bind", str(other), str(target)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting needs root")
    try:
        with pytest.raises(EnvironmentFault, match=r"cannot be written \(Device or resource busy"):
            write_whole(target, b"new")
        assert target.read_bytes() == b"old"
        assert sorted(tmp_path.iterdir()) == [target, other]
    finally:
        subprocess.run(["umount", str(target)], check=True)


@pytest.mark.attack("Disks")
def test_a_disk_that_knows_no_permissions_takes_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a share or a stick does that is mounted for all; making one takes a kernel that can."""

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refuse)
    write_whole(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"


@pytest.mark.parametrize("mode", [0o600, 0o664])
def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path: Path, mode: int) -> None:
    target = tmp_path / "file"
    write_whole(target, b"old")
    target.chmod(mode)
    write_whole(target, b"new")
    assert target.stat().st_mode & 0o777 == mode
    assert target.read_bytes() == b"new"
