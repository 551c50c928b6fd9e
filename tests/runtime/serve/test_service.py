"""What all requests share."""

from __future__ import annotations

import asyncio
import time

import pytest

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
