"""Shared by both shells: hand a `Call` to the core, and make clients' cores."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from coterie.client.calls import Call
from coterie.client.config import ClientConfig
from coterie.client.core import ClientCore
from coterie.client.endpoints import Endpoint, parse_endpoints
from coterie.client.requests import OnDone
from coterie.core.types import Nanos

NANOS_PER_SECOND = 1_000_000_000
READ_BYTES = 256 * 1024
"""Taken from a socket at once."""


def make_core(endpoints: str | Iterable[str | Endpoint], config: ClientConfig | None) -> ClientCore:
    """A core with randomness of its own. Raises `ConfigurationError` for a malformed endpoint."""
    return ClientCore(parse_endpoints(endpoints), config or ClientConfig(), random.Random())


def start(core: ClientCore, now: Nanos, call: Call[Any], on_done: OnDone) -> int:
    """Begin the call; returns the request's id. Raises as `ClientCore.submit` does."""
    timeout = int(call.timeout * NANOS_PER_SECOND)
    if call.command:
        return core.submit(now, call.payload, on_done, timeout=timeout, exactly_once=call.exactly_once)
    if call.status:
        return core.ask_status(now, on_done, timeout=timeout)
    if call.admin is not None:
        return core.administer(now, call.admin, on_done, timeout=timeout)
    at_least = core.revision if call.at_least is None else call.at_least
    return core.query(now, call.payload, on_done, timeout=timeout, mode=call.mode, at_least=at_least)
