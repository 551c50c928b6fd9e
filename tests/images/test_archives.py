"""What `extract` promises: an archive's files inside the folder, or nothing at all."""

from __future__ import annotations

import errno
import gzip
import io
import re
import stat
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from petclassify.errors import EnvironmentFault
from petclassify.images import archives
from petclassify.images.archives import extract

MIB = 1 << 20


def _member(name, content=b"x", **fields):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def _tar(path, *members, **given):
    with tarfile.open(path, "w:gz", **given) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return path


def _zip(path, *entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in entries:
            packed.writestr(name, content)
    return path


@pytest.fixture
def target(tmp_path):
    return tmp_path / "here" / "target"


def _refusal(archive, target, max_bytes=MIB, max_files=100):
    """The line that the user reads; nothing may be written, inside or outside."""
    before = _tree(archive.parent)
    with pytest.raises(EnvironmentFault) as refused:
        extract(archive, target, max_bytes, max_files)
    assert _tree(archive.parent) - {"here"} == before
    assert "\n" not in str(refused.value)
    return str(refused.value)


def _tree(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_a_tar_gives_its_files_below_its_folders(tmp_path, target):
    folder, _ = _member("set/deep", b"", type=tarfile.DIRTYPE)
    archive = _tar(tmp_path / "a.tar.gz", (folder, b""), _member("set/deep/one", b"1"))
    extract(archive, target, MIB, 100)
    assert _tree(target) == {"set", "set/deep", "set/deep/one"}
    assert (target / "set/deep/one").read_bytes() == b"1"


def test_a_zip_gives_its_files_below_its_folders(tmp_path, target):
    archive = _zip(tmp_path / "a.zip", ("set/", b""), ("set/one", b"1"), ("set/two", b"2"))
    extract(archive, target, MIB, 100)
    assert _tree(target) == {"set", "set/one", "set/two"}
    assert (target / "set/two").read_bytes() == b"2"


def test_a_gz_gives_the_one_file_under_its_own_name(tmp_path, target):
    (tmp_path / "labels.gz").write_bytes(gzip.compress(b"content"))
    extract(tmp_path / "labels.gz", target, MIB, 1)
    assert (target / "labels").read_bytes() == b"content"


def test_permissions_are_not_taken_over(tmp_path, target):
    archive = _tar(tmp_path / "a.tar.gz", _member("run", mode=0o6777))
    extract(archive, target, MIB, 100)
    assert not (target / "run").stat().st_mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IXUSR)


LEADING_OUT = [
    *("../out", "set/../../out", "/tmp/out", "C:/out", "c:out", "..\\out", "\\out", "set\\out"),
    "set/..",
]


@pytest.mark.parametrize("name", LEADING_OUT)
@pytest.mark.attack("Downloads and archives")
def test_a_tar_name_that_leads_out_is_refused(tmp_path, target, name):
    archive = _tar(tmp_path / "a.tar.gz", _member("first"), _member(name))
    assert "leads out of the folder" in _refusal(archive, target)


@pytest.mark.parametrize("name", [*LEADING_OUT, "set/../"])
@pytest.mark.attack("Downloads and archives")
def test_a_zip_name_that_leads_out_is_refused(tmp_path, target, name):
    archive = _zip(tmp_path / "a.zip", ("first", b"x"), (name, b"x"))
    assert "leads out of the folder" in _refusal(archive, target)


KINDS = [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]


@pytest.mark.parametrize("kind", KINDS, ids=["symlink", "hard link", "char", "block", "fifo"])
@pytest.mark.attack("Downloads and archives")
def test_what_is_no_file_in_a_tar_is_refused(tmp_path, target, kind):
    (tmp_path / "secret").write_text("mine")
    odd = _member("odd", b"", type=kind, linkname="../../secret", devmajor=1, devminor=3)
    archive = _tar(tmp_path / "a.tar.gz", odd, _member("odd", b"overwritten"))
    assert "is a link, a device or the like" in _refusal(archive, target)
    assert (tmp_path / "secret").read_text() == "mine"


@pytest.mark.attack("Downloads and archives")
def test_a_symbolic_link_in_a_zip_is_refused(tmp_path, target):
    link = zipfile.ZipInfo("odd")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive = _zip(tmp_path / "a.zip", (link, b"/etc"))
    assert "is a link, a device or the like" in _refusal(archive, target)


@pytest.mark.parametrize("suffix", ["tar.gz", "zip", "gz"])
@pytest.mark.attack("Downloads and archives")
def test_a_bomb_ends_at_the_cap(tmp_path, target, suffix, monkeypatch):
    archive, zeros = tmp_path / f"a.{suffix}", bytes(20 * MIB)
    if suffix == "tar.gz":
        _tar(archive, _member("bomb", zeros))
    elif suffix == "zip":
        _zip(archive, ("bomb", zeros))
    else:
        archive.write_bytes(gzip.compress(zeros, 1))
    assert archive.stat().st_size < MIB
    written = _count_written(monkeypatch)
    assert "more than 1048576 bytes when unpacked" in _refusal(archive, target)
    assert sum(written) <= MIB


def _count_written(monkeypatch):
    written, open_path = [], Path.open

    class Counting(io.FileIO):
        def write(self, chunk):
            written.append(len(chunk))
            return super().write(chunk)

    def opened(path, mode="r", *given, **named):
        return Counting(path, mode) if mode == "xb" else open_path(path, mode, *given, **named)

    monkeypatch.setattr(Path, "open", opened)
    return written


@pytest.mark.attack("Downloads and archives")
def test_files_share_one_cap(tmp_path, target):
    archive = _tar(tmp_path / "a.tar.gz", *(_member(str(n), bytes(400_000)) for n in range(3)))
    assert "more than 1048576 bytes" in _refusal(archive, target)


def test_the_cap_itself_may_be_reached(tmp_path, target):
    extract(_zip(tmp_path / "a.zip", ("one", bytes(10))), target, 10, 1)
    assert (target / "one").stat().st_size == 10


@pytest.mark.attack("Downloads and archives")
def test_a_long_name_that_is_a_bomb_is_not_read_into_memory(tmp_path, target):
    info, _ = _member("x", b"", pax_headers={"comment": "0" * (40 * MIB)})
    archive = _tar(tmp_path / "a.tar.gz", (info, b""), format=tarfile.PAX_FORMAT)
    tracemalloc.start()
    try:
        assert "bytes when unpacked" in _refusal(archive, target)
        assert tracemalloc.get_traced_memory()[1] < 16 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.attack("Downloads and archives")
def test_a_sparse_file_is_refused_before_its_holes_are_written(tmp_path, target):
    holes = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.name": "holes"}
    holes |= {"GNU.sparse.size": str(1 << 40), "GNU.sparse.map": f"0,1,{1 << 40},0"}
    archive = _tar(tmp_path / "a.tar.gz", _member("holes", pax_headers=holes))
    assert "is a link, a device or the like" in _refusal(archive, target)


@pytest.mark.parametrize("suffix", ["tar.gz", "zip"])
@pytest.mark.attack("Downloads and archives")
def test_too_many_entries_are_refused(tmp_path, target, suffix):
    names = [f"{number}/" for number in range(101)]
    archive = tmp_path / f"a.{suffix}"
    if suffix == "zip":
        _zip(archive, *((name, b"") for name in names))
    else:
        _tar(archive, *(_member(name, b"", type=tarfile.DIRTYPE) for name in names))
    assert "more than 100 entries" in _refusal(archive, target)


@pytest.mark.parametrize(
    ("claimed", "why"), [(1, "Bad CRC-32"), (5_000_000, "not as long as it claims")]
)
@pytest.mark.attack("Downloads and archives")
def test_a_zip_that_lies_about_a_size_is_refused(tmp_path, target, claimed, why):
    true_size = 300_000
    archive = _zip(tmp_path / "a.zip", ("liar", bytes(true_size)))
    lying = archive.read_bytes().replace(
        true_size.to_bytes(4, "little"), claimed.to_bytes(4, "little")
    )
    archive.write_bytes(lying)
    assert why in _refusal(archive, target, max_bytes=10_000_000)


@pytest.mark.parametrize("cut", [10, 300, -20])
@pytest.mark.parametrize("suffix", ["tar.gz", "zip", "gz"])
@pytest.mark.attack("Downloads and archives")
def test_a_cut_archive_is_one_line(tmp_path, target, suffix, cut):
    content = bytes(range(256)) * 40
    archive = tmp_path / f"a.{suffix}"
    if suffix == "tar.gz":
        _tar(archive, _member("one", content))
    elif suffix == "zip":
        _zip(archive, ("one", content))
    else:
        archive.write_bytes(gzip.compress(content))
    archive.write_bytes(archive.read_bytes()[:cut])
    assert "damaged" in _refusal(archive, target)


@pytest.mark.attack("Downloads and archives")
def test_an_encrypted_zip_is_one_line(tmp_path, target):
    archive = _zip(tmp_path / "a.zip", ("one", b"1"))
    content = bytearray(archive.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(content)
    assert "damaged" in _refusal(archive, target)


@pytest.mark.attack("Downloads and archives")
def test_a_zip_entry_without_a_name_is_one_line(tmp_path, target):
    """To zipfile it is damage, until Python 3.13."""
    archive = _zip(tmp_path / "a.zip", ("one", b"1"), (zipfile.ZipInfo(""), b"2"))
    assert re.search("damaged|a name that cannot be", _refusal(archive, target))


@pytest.mark.parametrize("names", [("one", "one"), ("one", "one/two"), ("one/two", "one")])
@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.attack("Downloads and archives")
def test_two_files_in_one_place_are_refused(tmp_path, target, names):
    archive = _zip(tmp_path / "a.zip", *((name, b"x") for name in names))
    assert "a name that cannot be" in _refusal(archive, target)


@pytest.mark.attack("Downloads and archives")
def test_another_kind_of_file_is_refused(tmp_path, target):
    (tmp_path / "a.rar").write_bytes(b"Rar!")
    assert "neither .tar.gz nor .zip nor .gz" in _refusal(tmp_path / "a.rar", target)


@pytest.mark.attack("Downloads and archives")
def test_a_folder_that_is_there_is_not_touched(tmp_path, target):
    target.mkdir(parents=True)
    (target / "mine").write_text("mine")
    with pytest.raises(EnvironmentFault, match="File exists"):
        extract(_zip(tmp_path / "a.zip", ("one", b"1")), target, MIB, 1)
    assert _tree(target) == {"mine"}


@pytest.mark.attack("Downloads and archives")
def test_a_full_disk_is_named_and_leaves_nothing(tmp_path, target, monkeypatch):
    def full(*given):
        raise OSError(errno.ENOSPC, "No space left on device")

    archive = _tar(tmp_path / "a.tar.gz", _member("one"))
    monkeypatch.setattr(archives, "_entries", full)
    assert "the disk is full" in _refusal(archive, target)
