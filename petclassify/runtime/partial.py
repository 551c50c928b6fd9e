"""The partial result of a long `predict`, which a later run of the same command goes on with.

It stands beside the output, as OUTPUT.part, and is an SQLite database: a row that is in it
survives SIGKILL whole, and looking one up takes no memory that grows with the photos. SQLite's
log is not flushed at each row, so a power cut may lose the last ones; they are scored again.

A prediction stands for a photo as long as its path, its size and its time of change stay the
same. So photos that were added, changed, taken away or come in another order meanwhile cost
nothing but their own scoring, and what is written is always what an unbroken run would write.
What another command with the same output had scored, of photos that are still there, stays for it.
Photos that failed are tried again. Another model's predictions are never mixed in: the command
refuses, since starting anew would throw work away that was not asked to be.

It takes about one and a half times the disk of JSON lines, and goes when the output is in place
and nothing of another command is in it.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from petclassify.errors import EnvironmentFault, ImageError, UsageError
from petclassify.files import replaceable
from petclassify.runtime.object_store import is_uri
from petclassify.runtime.output import outcome_of, to_fields
from petclassify.runtime.photos import signature_of
from petclassify.runtime.scoring import Scored, Source

log = logging.getLogger(__name__)

_OURS = 0x50455443  # "PETC", in the file's header
_NEW = f"""
BEGIN EXCLUSIVE;
PRAGMA application_id = {_OURS};
CREATE TABLE origin (text TEXT NOT NULL);
CREATE TABLE predictions (
    photo BLOB PRIMARY KEY, signature TEXT NOT NULL, outcome TEXT NOT NULL, run INTEGER NOT NULL
) WITHOUT ROWID;
"""
_RUN = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
DROP TABLE IF EXISTS listed;
CREATE TABLE listed (
    place INTEGER PRIMARY KEY, name BLOB NOT NULL, photo BLOB NOT NULL, outcome TEXT
);
"""
_HAS_OTHERS = """
SELECT EXISTS (
    SELECT 1 FROM predictions WHERE photo NOT IN (SELECT photo FROM listed) AND is_there(photo)
)
"""
_KEEP_OTHERS = """
DELETE FROM predictions WHERE photo IN (SELECT photo FROM listed) OR NOT is_there(photo)
"""
_ROWS = """
SELECT listed.name, coalesce(listed.outcome, predictions.outcome)
FROM listed LEFT JOIN predictions USING (photo) ORDER BY place
"""


class _DamagedError(sqlite3.DatabaseError):
    """SQLite finds no fault in a row, which holds no prediction all the same."""


class PartialResult:
    """The predictions so far, and the list of this run's photos. See `opened_partial`.

    Attributes:
        count: predictions in it, of this run and those before.
        kept: photos of this run that needed no scoring.

    """

    def __init__(self, database: sqlite3.Connection) -> None:
        counted = "SELECT count(*), coalesce(max(run), 0) + 1 FROM predictions"
        self.count, self._run = database.execute(counted).fetchone()
        self.kept = 0
        self._database = database
        self._being_scored: deque[tuple[int, str | None]] = deque()

    def unscored(self, photos: Iterable[tuple[str, Source]]) -> Iterator[tuple[str, Source]]:
        """List photos, and yield those that have no prediction yet."""
        for place, (name, source) in enumerate(photos):
            signature = signature_of(source)
            run = None if signature is None else self._scored_by(name, signature)
            if run is not None:
                self._list(place, name, None)
                self.kept += run < self._run
            else:
                self._being_scored.append((place, signature))
                yield name, source

    def add(self, scored: Scored) -> None:
        """Keep what became of a photo; they come in the order that `unscored` yielded."""
        place, signature = self._being_scored.popleft()
        outcome = json.dumps(to_fields(scored.outcome))
        lasting = signature is not None and not isinstance(scored.outcome, ImageError)
        if lasting:
            row = _key(scored.name), signature, outcome, self._run
            self._database.execute("INSERT OR REPLACE INTO predictions VALUES (?, ?, ?, ?)", row)
            self.count += 1
        self._list(place, scored.name, None if lasting else outcome)
        self._database.commit()

    def rows(self) -> Iterator[Scored]:
        """All photos of this run, in its order."""
        for name, text in self._database.execute(_ROWS):
            try:
                outcome = outcome_of(json.loads(text))
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                raise _DamagedError from error
            yield Scored(os.fsdecode(name), outcome)

    def leave_to_others(self) -> int:
        """Keep what this run had no use for, of photos that are still there, and count that."""
        if self._run == 1:
            return 0
        self._database.create_function("is_there", 1, _is_there)
        if self._database.execute(_HAS_OTHERS).fetchone() == (0,):
            return 0
        self._database.execute(_KEEP_OTHERS)
        self._database.commit()
        (left,) = self._database.execute("SELECT count(*) FROM predictions").fetchone()
        return int(left)

    def _scored_by(self, name: str, signature: str) -> int | None:
        """The number of the run whose prediction stands for a photo."""
        query = "SELECT run FROM predictions WHERE photo = ? AND signature = ?"
        found = self._database.execute(query, (_key(name), signature)).fetchone()
        return None if found is None else int(found[0])

    def _list(self, place: int, name: str, outcome: str | None) -> None:
        row = place, os.fsencode(name), _key(name), outcome
        self._database.execute("INSERT INTO listed VALUES (?, ?, ?, ?)", row)


def _is_there(key: bytes) -> bool:
    return is_uri(os.fsdecode(key)) or os.path.lexists(key)


def _key(name: str) -> bytes:
    """What a photo is known by: its place, whatever folder or link the command came by."""
    return os.fsencode(name if is_uri(name) else os.path.realpath(name))


@contextmanager
def opened_partial(output: Path, origin: str) -> Iterator[PartialResult]:
    """Open the partial result of an output, or begin one.

    It is removed at the end, except if the work was broken off when predictions were in it, or
    if another command can go on with some of them.

    Args:
        output: where the whole result will be.
        origin: what made the predictions, as text; those of another origin are refused.

    Raises:
        UsageError: another origin's predictions are in it, or another command is at work.
        EnvironmentFault: it cannot be written, or the file of that name is something else.

    """
    output = replaceable(output)
    path = replaceable(output.with_name(f"{output.name}.part"))
    with _faults_named(output, path):
        of_use = True
        try:
            with closing(sqlite3.connect(path, timeout=0)) as database:
                _begin(database, path, origin)
                partial = PartialResult(database)
                try:
                    yield partial
                    others = partial.leave_to_others()
                    of_use = others > 0
                    if of_use:
                        log.warning(
                            "%s: keeps %d predictions for the command that was stopped",
                            path,
                            others,
                        )
                finally:
                    of_use = of_use and partial.count > 0
        finally:
            if not of_use:
                for left in (path, path.with_name(f"{path.name}-wal")):
                    left.unlink(missing_ok=True)


def _begin(database: sqlite3.Connection, path: Path, origin: str) -> None:
    # One process at a time; the log then needs no shared memory, which network disks lack.
    database.execute("PRAGMA locking_mode = EXCLUSIVE")
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    if pages:
        _check_origin(database, path, origin)
    else:
        database.executescript(_NEW)
        database.execute("INSERT INTO origin VALUES (?)", (origin,))
        database.commit()
    database.executescript(_RUN)


def _check_origin(database: sqlite3.Connection, path: Path, origin: str) -> None:
    (mark,) = database.execute("PRAGMA application_id").fetchone()
    if mark != _OURS:
        raise _foreign(path)
    if database.execute("SELECT text FROM origin").fetchone() != (origin,):
        raise UsageError(
            f"{path}: holds predictions of an earlier run with another model or version. Delete "
            "it to start anew, run with what it was begun with, or give another --output"
        )


def _foreign(path: Path) -> EnvironmentFault:
    return EnvironmentFault(
        f"{path}: is no partial result, or a damaged one. Move it away, or give another --output"
    )


@contextmanager
def _faults_named(output: Path, path: Path) -> Iterator[None]:
    """Turn SQLite's errors into one line with the way out."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest is detail
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise UsageError(f"{path}: another command is writing {output}") from error
        is_damaged = isinstance(error, _DamagedError)
        if is_damaged or code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            raise _foreign(path) from error
        if code == sqlite3.SQLITE_FULL:
            kept = path.exists() and path.stat().st_size > 0
            so_far = f"the predictions so far are in {path.name}" if kept else "none is scored yet"
            fix = "Free some space and run the command again"
            raise EnvironmentFault(
                f"{output}: the disk is full; {so_far}. {fix}{', it will go on' if kept else ''}"
            ) from error
        if isinstance(error, sqlite3.OperationalError):
            raise EnvironmentFault(
                f"{path}: cannot be written ({error}). Choose another folder"
            ) from error
        raise
