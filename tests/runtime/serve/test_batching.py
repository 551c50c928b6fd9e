from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait

import numpy as np
import pytest

from petclassify import Classifier
from petclassify.errors import ImageError, ImageFault, ModelError
from petclassify.runtime.classifier import Prediction
from petclassify.runtime.serve.batching import Batcher, PixelBudget, QueueFullError
from tests.runtime.serve.conftest import SHIPPED

Make = Callable[[int], Batcher]


@pytest.fixture
def classifier() -> Classifier:
    return Classifier.load(SHIPPED, threads=1)


@pytest.fixture
def sizes() -> list[int]:
    """Of the batches, as they are run."""
    return []


@pytest.fixture
def held(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Until it is set, the network waits."""
    released = threading.Event()
    run = classifier.run

    def wait_and_run(pixels: np.ndarray) -> object:
        assert released.wait(30)
        return run(pixels)

    monkeypatch.setattr(classifier, "run", wait_and_run)
    return released


@pytest.fixture
def make(classifier: Classifier, sizes: list[int]) -> Iterator[Make]:
    made: list[Batcher] = []

    def start(workers: int) -> Batcher:
        made.append(Batcher(classifier, workers, sizes.append))
        return made[-1]

    yield start
    for batcher in made:
        batcher.close()


def wait_until_taken(batcher: Batcher) -> None:
    while batcher.waiting:
        threading.Event().wait(0.005)


def test_a_lone_photo_waits_for_no_company(make: Make, sizes: list[int], photo: bytes) -> None:
    (outcome,) = make(2).submit([photo])
    assert isinstance(outcome.result(30), Prediction)
    assert sizes == [1]


def test_what_waits_is_run_in_small_batches(
    make: Make, held: threading.Event, sizes: list[int], photo: bytes
) -> None:
    batcher = make(1)
    first = batcher.submit([photo])
    wait_until_taken(batcher)
    rest = batcher.submit([photo] * 9)
    held.set()
    assert not wait([*first, *rest], 30).not_done
    assert sizes == [1, 4, 4, 1]


def test_workers_share_what_waits(
    make: Make, held: threading.Event, sizes: list[int], photo: bytes
) -> None:
    batcher = make(2)
    busy = [*batcher.submit([photo]), *batcher.submit([photo])]
    while len(sizes) < 2:
        threading.Event().wait(0.005)
    rest = batcher.submit([photo] * 2)
    held.set()
    assert not wait([*busy, *rest], 30).not_done
    assert sizes == [1, 1, 1, 1]


def test_requests_take_turns(
    make: Make, held: threading.Event, sizes: list[int], photo: bytes
) -> None:
    batcher = make(1)
    first = batcher.submit([photo])
    wait_until_taken(batcher)
    many = batcher.submit([photo] * 40)
    (lone,) = batcher.submit([photo])
    held.set()
    assert isinstance(lone.result(30), Prediction)
    assert not many[-1].done()
    assert not wait([*first, *many], 30).not_done


def test_outcomes_are_in_order_past_the_ones_that_fail(make: Make, photo: bytes) -> None:
    window = np.zeros((224, 224, 3), np.uint8)
    futures = make(2).submit([photo, b"text", window, photo])
    first, text, black, last = (future.result(30) for future in futures)
    assert isinstance(text, ImageError)
    assert isinstance(first, Prediction)
    assert isinstance(last, Prediction)
    assert first.probabilities == pytest.approx(last.probabilities, abs=1e-5)
    assert first != black


def test_a_full_queue_takes_all_or_none(make: Make, held: threading.Event, photo: bytes) -> None:
    batcher = make(1)
    taken = batcher.submit([photo])
    wait_until_taken(batcher)
    waiting = batcher.submit([photo] * (batcher.capacity - 1))
    with pytest.raises(QueueFullError):
        batcher.submit([photo] * 2)
    assert batcher.waiting == batcher.capacity - 1
    waiting += batcher.submit([photo])
    held.set()
    assert not wait([*taken, *waiting], 60).not_done


def test_photos_that_nobody_waits_for_any_more_are_skipped(
    make: Make, held: threading.Event, sizes: list[int], photo: bytes
) -> None:
    batcher = make(1)
    taken = batcher.submit([photo])
    wait_until_taken(batcher)
    for future in batcher.submit([photo] * 8):
        assert future.cancel()
    last = batcher.submit([photo])
    held.set()
    assert not wait([*taken, *last], 30).not_done
    assert sizes == [1, 1]


def test_a_network_that_fails_tells_all_who_wait_and_the_next_are_served(
    make: Make, classifier: Classifier, monkeypatch: pytest.MonkeyPatch, photo: bytes
) -> None:
    batcher = make(1)
    with monkeypatch.context() as patch:

        def fail(_: np.ndarray) -> None:
            raise ModelError("broken")

        patch.setattr(classifier, "run", fail)
        futures: list[Future] = batcher.submit([photo] * 3)
        assert [str(future.exception(30)) for future in futures] == ["broken"] * 3
    (served,) = batcher.submit([photo])
    assert isinstance(served.result(30), Prediction)


def test_closing_finishes_what_waits_and_takes_no_more(make: Make, photo: bytes) -> None:
    batcher = make(1)
    futures = batcher.submit([photo] * 5)
    batcher.close()
    assert all(future.done() for future in futures)
    with pytest.raises(QueueFullError):
        batcher.submit([photo])


def test_all_workers_together_decode_no_more_pixels_than_they_may(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch, photo: bytes
) -> None:
    monkeypatch.setattr("petclassify.runtime.serve.batching.PixelBudget", lambda: budget)
    budget = PixelBudget(2 * 240 * 320)  # two photos
    lock, decoding, most = threading.Lock(), 0, 0
    pixels = classifier.pixels

    def counted(given: bytes) -> np.ndarray:
        nonlocal decoding, most
        with lock:
            decoding += 1
            most = max(most, decoding)
        threading.Event().wait(0.02)
        with lock:
            decoding -= 1
        return pixels(given)

    monkeypatch.setattr(classifier, "pixels", counted)
    batcher = Batcher(classifier, 5)
    outcomes = batcher.submit([photo, b"no photo"] * 10)
    found = [outcome.result(30) for outcome in outcomes]
    batcher.close()
    assert most == 2
    assert [type(one) for one in found] == [Prediction, ImageError] * 10


def test_a_photo_larger_than_the_budget_takes_it_whole_and_gives_it_back() -> None:
    budget = PixelBudget(100)
    for _ in range(2):
        with budget.taken(101):
            pass
    with pytest.raises(ImageError), budget.taken(100):
        raise ImageError(ImageFault.DAMAGED, "damaged")
    with budget.taken(100):
        pass


def test_why_a_photo_is_refused_does_not_keep_its_bytes(make: Make) -> None:
    """A caught error holds them by its frames: refused bodies filled a gigabyte."""
    (outcome,) = make(1).submit([b"no photo"])
    refused = outcome.result(30)
    assert isinstance(refused, ImageError)
    assert (refused.__traceback__, refused.__context__) == (None, None)
