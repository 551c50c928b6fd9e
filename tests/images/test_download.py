"""What `download` promises: the pinned bytes over https, broken lines or not, or one line why."""

from __future__ import annotations

import errno
import hashlib
import random
import re
import socket

import pytest

from petclassify.errors import EnvironmentFault
from petclassify.images import download as module
from petclassify.images.download import download
from tests.images.https_server import serving

SIZE = 300_000
CONTENT = random.Random(0).randbytes(SIZE)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch, tmp_path):
    with serving(monkeypatch, tmp_path) as served:
        served.files["set.gz"] = CONTENT
        yield served


@pytest.fixture
def path(tmp_path):
    return tmp_path / "raw" / "set.gz"


@pytest.fixture
def part(path):
    path.parent.mkdir()
    return path.with_name("set.gz.part")


def _fetch(server, path, max_bytes=SIZE, name="set.gz", **given):
    download(server.url(name), SHA256, path, max_bytes, **given)


def _refusal(server, path, **given):
    """The line that the user reads; nothing but a part file may be left."""
    with pytest.raises(EnvironmentFault) as refused:
        _fetch(server, path, **given)
    assert not path.exists()
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_file_arrives_whole_and_alone(server, path):
    _fetch(server, path)
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]


def test_a_file_with_the_right_sum_is_used_without_a_request(server, path):
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    _fetch(server, path)
    assert server.asked == []


def test_a_file_with_another_sum_is_replaced(server, path):
    path.parent.mkdir()
    path.write_bytes(b"stale")
    _fetch(server, path)
    assert path.read_bytes() == CONTENT


@pytest.mark.attack("Downloads and archives")
def test_a_broken_download_goes_on_where_it_stopped(server, path):
    server.break_after = [100_000, 50_000]
    _fetch(server, path)
    assert path.read_bytes() == CONTENT
    assert server.asked == [
        ("set.gz", None),
        ("set.gz", "bytes=100000-"),
        ("set.gz", "bytes=150000-"),
    ]


def test_what_an_earlier_run_left_is_not_fetched_again(server, path, part):
    part.write_bytes(CONTENT[:200_000])
    _fetch(server, path)
    assert path.read_bytes() == CONTENT
    assert server.asked == [("set.gz", "bytes=200000-")]


def test_a_part_that_is_whole_needs_no_request(server, path, part):
    part.write_bytes(CONTENT)
    _fetch(server, path)
    assert (path.read_bytes(), server.asked) == (CONTENT, [])


@pytest.mark.attack("Downloads and archives")
def test_a_server_without_ranges_gives_it_all_again(server, path, part):
    server.ranges = False
    part.write_bytes(CONTENT[:200_000])
    _fetch(server, path)
    assert path.read_bytes() == CONTENT


@pytest.mark.attack("Downloads and archives")
def test_a_range_from_elsewhere_is_not_appended(server, path, part):
    server.shift = -7
    part.write_bytes(CONTENT[:200_000])
    _fetch(server, path)
    assert path.read_bytes() == CONTENT
    assert server.asked[-1] == ("set.gz", None)


@pytest.mark.attack("Downloads and archives")
def test_a_part_longer_than_the_file_is_dropped(server, path, part):
    part.write_bytes(CONTENT + b"more")
    _fetch(server, path)
    assert path.read_bytes() == CONTENT
    assert server.asked == [("set.gz", f"bytes={SIZE + 4}-"), ("set.gz", None)]


@pytest.mark.attack("Downloads and archives")
def test_a_line_that_stays_broken_ends_with_what_came_kept(server, path):
    server.break_after = [100_000, 0, 0, 0, 0, 0]
    line = _refusal(server, path)
    assert "100000 bytes are kept" in line
    assert path.with_name("set.gz.part").read_bytes() == CONTENT[:100_000]


@pytest.mark.attack("Downloads and archives")
def test_a_server_that_starts_over_and_breaks_each_time_is_given_up(server, path):
    server.ranges = False
    server.break_after = [100_000] * 50
    assert "Run the command again" in _refusal(server, path)
    assert len(server.asked) < 6


@pytest.mark.attack("Downloads and archives")
def test_a_length_that_lies_is_given_up(server, path):
    server.promised = SIZE + 10
    assert "bytes are kept" in _refusal(server, path, max_bytes=SIZE + 10)


@pytest.mark.attack("Downloads and archives")
def test_a_busy_server_is_asked_again(server, path):
    server.statuses = [503, 500]
    _fetch(server, path)
    assert path.read_bytes() == CONTENT


@pytest.mark.attack("Downloads and archives")
def test_a_missing_file_is_not_asked_for_again(server, path):
    assert "answered 404 Not Found" in _refusal(server, path, name="gone.gz")
    assert len(server.asked) == 1


@pytest.mark.parametrize("lengths", [True, False])
@pytest.mark.attack("Downloads and archives")
def test_no_more_than_the_cap_is_written(server, path, lengths):
    server.lengths = lengths
    told = []
    line = _refusal(server, path, max_bytes=200_000, advance=told.append)
    assert "sends more bytes" in line
    assert max(told, default=0) <= (0 if lengths else 200_000)  # a length tells it beforehand
    assert list(path.parent.iterdir()) == []


@pytest.mark.attack("Downloads and archives")
def test_a_part_counts_towards_the_cap(server, path, part):
    part.write_bytes(CONTENT[:150_000])
    assert "sends more bytes" in _refusal(server, path, max_bytes=200_000)


@pytest.mark.attack("Downloads and archives")
def test_a_wrong_sum_names_both_sums_and_leaves_nothing(server, path):
    server.files["set.gz"] = other = CONTENT[:-1] + b"?"
    line = _refusal(server, path)
    assert {SHA256, hashlib.sha256(other).hexdigest()} <= set(re.findall("[0-9a-f]{64}", line))
    assert server.url("set.gz") in line
    assert list(path.parent.iterdir()) == []


def test_a_redirect_within_https_is_followed_with_its_range(server, path, part):
    server.redirects["moved.gz"] = server.url("set.gz")
    part.write_bytes(CONTENT[:200_000])
    _fetch(server, path, name="moved.gz")
    assert path.read_bytes() == CONTENT
    assert server.asked[-1] == ("set.gz", "bytes=200000-")


@pytest.mark.attack("Downloads and archives")
def test_a_redirect_out_of_https_is_refused(server, path):
    server.redirects["moved.gz"] = server.url("set.gz").replace("https", "http")
    assert "over https only" in _refusal(server, path, name="moved.gz")
    assert [name for name, _ in server.asked] == ["moved.gz"]


@pytest.mark.attack("Downloads and archives")
def test_an_address_without_https_is_refused(path):
    with pytest.raises(EnvironmentFault, match="over https only"):
        download("http://localhost/set.gz", SHA256, path, 10)


@pytest.mark.attack("Downloads and archives")
def test_a_certificate_that_nobody_vouches_for_is_refused(server, path, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    assert "SSL_CERT_FILE" in _refusal(server, path)
    assert server.asked == []


@pytest.mark.attack("Downloads and archives")
def test_a_log_of_keys_that_cannot_be_written_is_one_line(server, path, monkeypatch):
    monkeypatch.setenv("SSLKEYLOGFILE", str(path / "nowhere"))
    assert "SSLKEYLOGFILE" in _refusal(server, path)


def test_a_server_that_is_not_there_is_one_line(server, path):
    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        server.root = f"https://localhost:{taken.getsockname()[1]}"
        assert "0 bytes are kept" in _refusal(server, path)


@pytest.mark.attack("Downloads and archives")
def test_a_name_that_nobody_knows_is_one_line(server, path):
    server.root = "https://no-such-host.invalid"
    assert "cannot be reached" in _refusal(server, path)


@pytest.mark.attack("Downloads and archives")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # urllib's socket
@pytest.mark.parametrize("where", ["https://[::1/set.gz", "https://a..b/set.gz"])
def test_a_redirect_to_what_is_no_address_is_one_line(server, path, where):
    server.redirects["moved.gz"] = where
    assert "cannot be reached" in _refusal(server, path, name="moved.gz")


@pytest.mark.attack("Downloads and archives")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("proxy", ["http:/proxy:8080", "http://a..b:8080"])
def test_a_proxy_that_cannot_be_is_one_line(server, path, monkeypatch, proxy):
    monkeypatch.setenv("https_proxy", proxy)
    monkeypatch.delenv("no_proxy")
    assert "https_proxy" in _refusal(server, path)


@pytest.mark.attack("Downloads and archives")
def test_redirects_that_never_end_are_one_line(server, path):
    server.redirects["moved.gz"] = server.url("moved.gz")
    assert "infinite loop" in _refusal(server, path, name="moved.gz")


@pytest.mark.attack("Downloads and archives")
def test_a_server_that_falls_silent_is_not_waited_for(server, path, monkeypatch):
    monkeypatch.setattr(module, "_TIMEOUT_S", 0.1)
    with socket.create_server(("localhost", 0)) as silent:
        server.root = f"https://localhost:{silent.getsockname()[1]}"
        assert "timed out" in _refusal(server, path)


@pytest.mark.attack("Downloads and archives")
def test_a_full_disk_is_named_and_nothing_stays(server, path, monkeypatch):
    def refuse(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", refuse)
    assert "the disk is full" in _refusal(server, path)
    assert list(path.parent.iterdir()) == []


def test_progress_counts_what_was_there_before(server, path, part):
    told = []
    part.write_bytes(CONTENT[:200_000])
    _fetch(server, path, advance=told.append)
    assert 200_000 < told[0] <= told[-1] == SIZE
