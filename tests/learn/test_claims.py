from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from petclassify.learn.claims import claimed


def test_who_waits_for_another_command_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lock_file = tmp_path / ".lock"
    order: list[str] = []

    def wait() -> None:
        with claimed(lock_file):
            order.append("second")

    second = threading.Thread(target=wait)
    with caplog.at_level("INFO"), claimed(lock_file):
        second.start()
        deadline = time.monotonic() + 10
        while f"waiting for another command, which holds {lock_file}" not in caplog.text:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        order.append("first")
    second.join(10)
    assert order == ["first", "second"]
