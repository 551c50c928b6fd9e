"""Scoring on a Ray cluster: the photos of a folder or an object store, a model in each actor.

    petclassify predict s3://bucket/photos --engine ray --output results.parquet

Pointing it at a cluster: run the command on the head node with RAY_ADDRESS=auto, elsewhere
in the cluster's network with RAY_ADDRESS=HEAD:6379, or from anywhere as a job:

    ray job submit --address http://HEAD:8265 -- petclassify predict ...

Without RAY_ADDRESS it starts a Ray of its own on this machine, and ends it. The nodes need
`petclassify[ray]` in the same version. They do not need the model, which is sent to them; they
do need the photos: an object store, or a disk that all nodes mount at the same path.

Decisions:
- The rows are those of the local engine: the same decoder, network and code (`score_photos`)
  run in the actors, and Ray Data is told to keep the order. Resuming is the same, too.
- One actor a processor, each with one model session. Up to as many as the cluster has at the
  start; Ray starts with one and adds them as fast as it can feed them.
- Actors read the photos themselves, ahead of the network, rather than have Ray read them
  (`read_binary_files`): one bad file is then one error row, and bytes travel once.
- The names of the photos, about 200 bytes each, are held by the command and by Ray.
- What crosses processes is pickled by this module at both ends, since names may be broken
  UTF-8, which Arrow's text is not.
- Ray reports its usage to its makers unless told not to. It is told not to.
"""

from __future__ import annotations

import logging
import math
import os
import pickle
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import chdir, contextmanager
from pathlib import Path

import pyarrow as pa

# Read when Ray is imported or starts: no report home, no logs (failures come as exceptions).
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_DATA_LOG_LEVEL", "CRITICAL")
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
import ray
import ray.data

from petclassify.cores import usable_cores
from petclassify.errors import EnvironmentFault
from petclassify.runtime.classifier import Classifier
from petclassify.runtime.model_file import parse_model
from petclassify.runtime.scoring import THREADS_IN_NETWORK, Scored, Source, score_photos

PHOTOS_PER_TASK = 512  # at most: what is lost, of each actor, when the command is killed
_TASKS_PER_ACTOR = 8
_READERS_PER_ACTOR = 2  # one reads while the other's network runs


class _Scorer:
    """One actor: a model session of its own, for as long as the command runs."""

    def __init__(self, model: ray.ObjectRef[bytes]) -> None:
        session, info = parse_model(ray.get(model), THREADS_IN_NETWORK)
        self._classifier = Classifier(session, info)

    def __call__(self, batch: pa.Table) -> pa.Table:
        photos = [pickle.loads(photo.as_py()) for photo in batch["photo"]]  # noqa: S301
        scored = score_photos(self._classifier, photos, workers=_READERS_PER_ACTOR)
        return pa.table({"scored": [pickle.dumps(one) for one in scored]})


def score_on_ray(model: bytes, photos: Iterable[tuple[str, Source]]) -> Iterator[Scored]:
    """Classify photos on a Ray cluster; see `scoring.score_photos`.

    Args:
        model: the content of a model file.
        photos: what to call each, and where it is, for all nodes.

    Yields:
        One outcome a photo, in the order given.

    Raises:
        EnvironmentFault: the cluster cannot be reached, or fails.

    """
    sent = [pickle.dumps((name, _everywhere(source))) for name, source in photos]
    if not sent:
        return
    with _connected():
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        context.execution_options.preserve_order = True
        processors = max(1, int(ray.cluster_resources().get("CPU", 1)))
        size = min(PHOTOS_PER_TASK, math.ceil(len(sent) / (_TASKS_PER_ACTOR * processors)))
        tables = [pa.table({"photo": sent[i : i + size]}) for i in range(0, len(sent), size)]
        scored = ray.data.from_arrow(tables).map_batches(
            _Scorer,
            fn_constructor_args=(ray.put(model),),
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=1,
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=processors),
        )
        for batch in scored.iter_batches(batch_size=None, batch_format="pyarrow"):
            for one in batch["scored"]:
                yield pickle.loads(one.as_py())  # noqa: S301


def _everywhere(source: Source) -> Source:
    """The same photo for a process that works in another folder."""
    return source.absolute() if isinstance(source, Path) else source


@contextmanager
def _connected() -> Iterator[None]:
    """Be on the cluster that RAY_ADDRESS names, else on one of our own, or the caller's."""
    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS")
    try:
        with _signals_kept(), _stderr_hidden(), _no_code_from_here():
            _start(address)
        yield
    except (ray.exceptions.RayError, OSError, RuntimeError, ValueError, OverflowError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        reason = lines[-1].strip().rstrip(".")
        raise EnvironmentFault(
            f"Ray ({address or 'on this machine'}) fails: {reason}. Check that the cluster "
            "is up and has the same petclassify[ray] on every node"
        ) from error
    finally:
        ray.shutdown()


def _start(address: str | None) -> None:
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    quiet = {"log_to_driver": False, "configure_logging": False}
    if address:
        _knock(address)
        ray.init(address, **quiet)
    else:
        # Else Ray would leave one in the user's home.
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        ray.init("local", num_cpus=usable_cores(), include_dashboard=False, **quiet)


def _knock(address: str) -> None:
    """Fail at once where nobody listens: Ray itself would try for many minutes."""
    host, colon, port = address.rpartition("//")[2].rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()


@contextmanager
def _no_code_from_here() -> Iterator[None]:
    """Ray's workers import from the working folder, where any code may lie beside the photos.

    It stays so where this process does, as `python -m` makes it.
    """
    if {"", str(Path.cwd())} & {*sys.path}:
        yield
        return
    with chdir(os.sep):
        yield


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray puts its own handler for SIGTERM in place of the command line's."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _stderr_hidden() -> Iterator[None]:
    """Ray's core says on the process's own stderr which log level it was given."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
