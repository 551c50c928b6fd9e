"""What models/latest names after a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from petclassify.learn.runs.run_folder import RunFolder
from petclassify.runtime.model_file import named_run


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    monkeypatch.chdir(tmp_path)
    run = Path("models/second")
    for folder in (run, Path("models/first")):
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
    return RunFolder(run)


def test_latest_names_the_run_that_finished_last(finished: RunFolder) -> None:
    latest = Path("models/latest")
    latest.symlink_to("first", target_is_directory=True)
    finished.mark_latest()
    assert latest.resolve() == finished.path.resolve()


def test_latest_that_is_a_file_with_a_run_s_name_is_replaced(finished: RunFolder) -> None:
    latest = Path("models/latest")
    latest.write_text("first")  # as where links are not to be had
    assert named_run(latest) == Path("models/first")
    finished.mark_latest()
    assert latest.resolve() == finished.path.resolve()


@pytest.mark.parametrize("content", [b"", b"v12\n", b"\0", b"my notes\n" * 1000])
@pytest.mark.attack("Surroundings")
def test_a_file_of_the_user_called_latest_is_kept(
    finished: RunFolder, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    latest = Path("models/latest")
    latest.write_bytes(content)
    finished.mark_latest()
    assert latest.read_bytes() == content
    assert "kept, since it names no run" in caplog.text
    assert sorted(path.name for path in latest.parent.iterdir()) == ["first", "latest", "second"]


def test_a_folder_called_latest_is_kept(
    finished: RunFolder, caplog: pytest.LogCaptureFixture
) -> None:
    Path("models/latest").mkdir()
    finished.mark_latest()
    assert not Path("models/latest").is_symlink()
    assert "kept, since it names no run" in caplog.text
