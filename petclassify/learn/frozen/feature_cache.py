"""Features on disk, by the content of the photo, so that a second run takes seconds.

One SQLite file for each way of making features: network, weights, window, decoder.
SQLite gives what a cache must have and what is easily got wrong by hand: a kill at any
moment leaves the last whole batch, and two runs may write at once. A photo that changed
has another content, so only it is computed again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import PIL

from petclassify.arrays import Features
from petclassify.errors import EnvironmentFault
from petclassify.learn.backbones.backbone import Backbone
from petclassify.learn.backbones.state_dicts import digest_weights
from petclassify.learn.frozen.engines import ENGINE_PACKAGES

log = logging.getLogger(__name__)

# Raise it when the same photo would give other pixels or features than before.
FORMAT = 5
_WAIT_S = 60.0
_KEEP = """
INSERT INTO features VALUES (?1, ?2, ?3)
ON CONFLICT (engine, digest) DO UPDATE SET vectors = excluded.vectors
WHERE typeof(vectors) != 'blob' OR length(vectors) % ?4 != 0
    OR length(vectors) <= length(excluded.vectors)
"""


@dataclass(frozen=True)
class FeatureCache:
    """The features of one backbone: for each photo one row per view, the photo itself first.

    Attributes:
        path: the database.
        num_features: of the backbone.
        engine: whose features are read and written. Those of two engines never mix.

    """

    path: Path
    num_features: int
    engine: str = ""

    @classmethod
    def open(cls, folder: Path, backbone: Backbone) -> FeatureCache:
        """Open, or start, the cache of this backbone with these weights and this window.

        Its engine is the one that filled it last, none in a new cache.

        Raises:
            EnvironmentFault: the folder cannot be written.

        """
        about = {
            "format": FORMAT,
            "backbone": backbone.name,
            "weights": digest_weights(backbone.extractor),
            # What a network computes of its weights may change.
            "versions": {p: version(p) for p in ENGINE_PACKAGES if find_spec(p) is not None},
            "resize": asdict(backbone.resize),
            "pillow": PIL.__version__,
        }
        described = json.dumps(about, sort_keys=True)
        key = hashlib.sha256(described.encode()).hexdigest()[:16]
        path = folder / "features" / f"{backbone.name}-{key}.sqlite"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EnvironmentFault(
                f"{path.parent}: cannot be made ({error.strerror}). Choose another with --cache DIR"
            ) from error
        cache = cls(path, backbone.num_features)
        cache._prepare(described)
        with cache._connected() as connection:
            row = connection.execute("SELECT value FROM about WHERE name = 'engine'").fetchone()
        return replace(cache, engine="" if row is None else str(row[0]))

    def with_engine(self, name: str) -> FeatureCache:
        """The same cache for the features of this engine, which later runs will prefer."""
        with self._connected() as connection, connection:
            connection.execute("INSERT OR REPLACE INTO about VALUES ('engine', ?)", (name,))
        return replace(self, engine=name)

    def known(self, digests: Iterable[str], views: int) -> set[str]:
        """Those of the photos, named by their digests, of which as many views are here."""
        with self._connected() as connection:
            rows = connection.execute(
                "SELECT digest FROM features WHERE engine = ? AND typeof(vectors) = 'blob' "
                "AND length(vectors) >= ? AND length(vectors) % ? = 0",
                (self.engine, views * self._bytes_per_view, self._bytes_per_view),
            )
            here = {row[0] for row in rows}
        return here.intersection(digests)

    def put(self, digests: Sequence[str], features: Features) -> None:
        """Keep a batch, (N, views, num_features), all of it or nothing.

        Another run that needs fewer views of the same photo takes none away.
        """
        rows = [
            (self.engine, digest, np.ascontiguousarray(row, dtype="<f4").tobytes())
            for digest, row in zip(digests, features, strict=True)
        ]
        with self._connected() as connection, connection:
            connection.executemany(_KEEP, [(*row, self._bytes_per_view) for row in rows])

    def get(self, digests: Sequence[str], views: int) -> Features:
        """Read features in the given order, (N, views, num_features).

        Raises:
            EnvironmentFault: a photo is not in the cache with as many views, as it was before.

        """
        features = np.empty((len(digests), views, self.num_features), dtype=np.float32)
        with self._connected() as connection:
            for place, digest in enumerate(digests):
                row = connection.execute(
                    "SELECT vectors FROM features WHERE engine = ? AND digest = ?",
                    (self.engine, digest),
                ).fetchone()
                if row is None or len(row[0]) < views * self._bytes_per_view:
                    raise EnvironmentFault(
                        f"{self.path}: the feature cache was emptied meanwhile. Run the command "
                        "again"
                    )
                vectors = np.frombuffer(row[0], dtype="<f4").reshape(-1, self.num_features)
                features[place] = vectors[:views]
        return features

    @property
    def _bytes_per_view(self) -> int:
        return 4 * self.num_features

    def _prepare(self, described: str) -> None:
        """Make the tables. What is no database, or a damaged one, is started anew."""
        try:
            with closing(sqlite3.connect(self.path, timeout=_WAIT_S)) as connection:
                sound = connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
        except sqlite3.OperationalError:
            sound = True  # not to be opened at all: the next lines say why
        except sqlite3.DatabaseError:
            sound = False
        if not sound:
            log.warning("%s: damaged feature cache, started anew", self.path)
            self.path.unlink(missing_ok=True)
        with self._connected() as connection, connection:
            connection.execute("CREATE TABLE IF NOT EXISTS about (name PRIMARY KEY, value)")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS features "
                "(engine, digest, vectors, PRIMARY KEY (engine, digest))"
            )
            connection.execute("INSERT OR REPLACE INTO about VALUES ('key', ?)", (described,))

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, timeout=_WAIT_S)) as connection:
                yield connection
        except sqlite3.DatabaseError as error:
            raise EnvironmentFault(
                f"{self.path}: the feature cache cannot be used ({error}). Repeat the command; "
                "if it stays so, free some space or choose another folder with --cache DIR"
            ) from error
