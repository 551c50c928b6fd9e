"""What all requests share."""

from __future__ import annotations

import asyncio
import time

import pytest

from petclassify.runtime.serve import service as room
from petclassify.runtime.serve.batching import MAX_DECODED_PIXELS
from petclassify.runtime.serve.service import Service
from tests.runtime.serve.conftest import SHIPPED


@pytest.mark.attack("Server")
def test_after_each_body_the_event_loop_has_as_long_for_itself() -> None:
    service = Service(SHIPPED)

    def parse() -> tuple[float, float]:
        start = time.monotonic()
        time.sleep(0.1)
        return start, time.monotonic()

    async def at_once() -> list[tuple[float, float]]:
        return await asyncio.gather(*(service.parse(parse) for _ in range(3)))

    try:
        (_, first_end), (second_start, second_end), (third_start, _) = asyncio.run(at_once())
    finally:
        service.close()
    assert second_start - first_end > 0.09
    assert third_start - second_end > 0.09


@pytest.mark.attack("Server")
def test_a_process_that_was_stopped_midway_takes_bodies_again_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, "MAX_PAUSE", 0.05)
    service = Service(SHIPPED)

    async def one_after_another() -> float:
        await service.parse(lambda: time.sleep(2))  # as it looks from within
        start = time.monotonic()
        await service.parse(lambda: None)
        return time.monotonic() - start

    try:
        assert asyncio.run(one_after_another()) < 1.5
    finally:
        service.close()


@pytest.mark.attack("Server")
def test_heat_maps_are_decoded_within_the_pixels_of_all(photo: bytes) -> None:
    service = Service(SHIPPED)

    async def drawn_while_all_is_taken() -> bool:
        with service._batcher.budget.taken(MAX_DECODED_PIXELS):
            drawing = asyncio.ensure_future(service.explain(photo))
            done, _ = await asyncio.wait([drawing], timeout=1)
        assert (await drawing).startswith(b"\x89PNG")
        return bool(done)

    try:
        assert not asyncio.run(drawn_while_all_is_taken())
    finally:
        service.close()
