"""Waiting for a condition with a deadline, and log lines as a list."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from coterie.runtime.event_loop import new_event_loop

T = TypeVar("T")


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until the condition holds; fails after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"still not so after {seconds} s"
        await asyncio.sleep(0.005)


def run(work: Callable[[], Awaitable[T]], seconds: float = 30.0) -> T:
    """Run a coroutine in an event loop as a node's, with a time limit."""

    async def limited() -> T:
        async with asyncio.timeout(seconds):
            return await work()

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(limited())


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The log lines so far."""
    caplog.set_level(logging.DEBUG, logger="coterie")
    return lambda: [record.getMessage() for record in caplog.records]
