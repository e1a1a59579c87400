"""A load generator: a fixed number of operations in flight, each a frame of its own, none merged.

It uses the same core and the same asyncio shell as every client, by the shell's lean way in: a
callback an operation, no future and no task.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import msgspec

from coterie.client.asynchronous import AsyncClient, connect_async
from coterie.client.calls import put as describe_put
from coterie.client.config import ClientConfig
from coterie.client.dispatch import NANOS_PER_SECOND
from coterie.client.errors import RequestError
from coterie.client.histogram import Histogram
from coterie.client.requests import Outcome
from coterie.client.tls import TlsConfig
from coterie.core.errors import ConfigurationError
from coterie.core.types import Nanos
from coterie.machine.kv.protocol import Put, Range, encoder

KEY_BYTES = 16
KEYS = 4096
"""Different keys, used in turn."""
MAX_PREPARED_VALUE_BYTES = 4096
MANY_IN_FLIGHT = 64
MIN_CONNECTIONS_AT_MANY = 4
TIMEOUT: Nanos = 10 * NANOS_PER_SECOND
PAUSE_AFTER_ERROR_S = 0.01
"""An operation's place in the flight rests for this long after an error."""

_encode = encoder.encode
_now = time.monotonic_ns


class LoadOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What to do. Sizes in bytes, times in seconds."""

    endpoints: str
    op: str
    """`put` or `get` (linearizable)."""
    in_flight: int = 64
    value_bytes: int = 256
    seconds: float = 10.0
    session: bool = True
    """Puts take effect exactly once."""
    config: ClientConfig = ClientConfig(name="coterie-load")
    tls: TlsConfig | None = None

    def __post_init__(self) -> None:
        if self.op not in {"put", "get"}:
            raise ConfigurationError(f"op is {self.op!r}: it must be put or get")
        if not 0 < self.in_flight <= self.config.max_requests:
            raise ConfigurationError(f"in_flight is {self.in_flight}: it must be 1 to {self.config.max_requests}")
        if not 0 <= self.value_bytes <= 1024 * 1024:
            raise ConfigurationError(f"value_bytes is {self.value_bytes}: it must be 0 to 1048576")
        if not self.seconds > 0:
            raise ConfigurationError(f"seconds is {self.seconds}: it must be above 0")

    @property
    def clients(self) -> int:
        """How many clients share the work, each with connections of its own."""
        return MIN_CONNECTIONS_AT_MANY if self.in_flight >= MANY_IN_FLIGHT else 1


class LoadResult(msgspec.Struct, frozen=True):
    """What was measured, from the first operation's start until the time was up."""

    done: int
    errors: int
    seconds: float
    latencies: Histogram
    first_error: str


class Load:
    """One run. `begun` and `ended` are called at the bounds of the time that is measured."""

    def __init__(
        self, options: LoadOptions, *, begun: Callable[[], None] | None = None, ended: Callable[[], None] | None = None
    ) -> None:
        self._options = options
        self._begun = begun
        self._ended = ended
        self._value = b"v" * options.value_bytes
        self._prepared: dict[int, bytes] = {}
        """By the key's number, what is sent: what is measured is the cluster and its client, not the load's making."""
        self._next = 0
        self.running = False
        """The time that is measured has begun, and is not up."""
        self._live = 0
        self._idle = asyncio.Event()
        self.done = 0
        self.errors = 0
        self.first_error = ""
        self.latencies = Histogram()

    async def run(self) -> LoadResult:
        """Warm up, measure, drain. Raises `RequestError` if not even the first operation succeeds."""
        options = self._options
        clients = [
            await connect_async(options.endpoints, options.config, tls=options.tls) for _ in range(options.clients)
        ]
        try:
            await self._warm_up(clients)
            self.running = True
            if self._begun is not None:
                self._begun()
            start = _now()
            for number in range(options.in_flight):
                self._live += 1
                self._work(clients[number % len(clients)])
            await asyncio.sleep(options.seconds)
            self.running = False
            seconds = (_now() - start) / NANOS_PER_SECOND
            result = LoadResult(self.done, self.errors, seconds, self.latencies, self.first_error)
            if self._ended is not None:
                self._ended()
            await self._idle.wait()
            return result
        finally:
            for client in clients:
                await client.close()

    async def _warm_up(self, clients: list[AsyncClient]) -> None:
        """Connect, open sessions, find the leader; for gets, write the keys."""
        for client in clients:
            for _ in range(2):
                await client.run(describe_put(_key(0), self._value, session=self._options.session))
        if self._options.op == "get":
            every = [describe_put(_key(number), self._value) for number in range(KEYS)]
            for start in range(0, KEYS, 256):
                await asyncio.gather(*(clients[0].run(call) for call in every[start : start + 256]))

    def _payload(self, number: int) -> bytes:
        """The command or question about key `number`; made once, if all of them are small."""
        options = self._options
        asked = Put(_key(number), self._value) if options.op == "put" else Range(_key(number))
        payload = _encode(asked)
        if options.value_bytes <= MAX_PREPARED_VALUE_BYTES:
            self._prepared[number] = payload
        return payload

    def _work(self, client: AsyncClient) -> None:
        """One place in the flight: one operation after the other, until the time is up."""
        prepared, record = self._prepared, self.latencies.record
        puts, session = self._options.op == "put", self._options.session
        begun: Nanos = 0

        def begin() -> None:
            nonlocal begun
            number = self._next
            self._next = (number + 1) % KEYS
            payload = prepared.get(number) or self._payload(number)
            begun = _now()
            try:
                if puts:
                    client.start_command(payload, on_done, TIMEOUT, session)
                else:
                    client.start_query(payload, on_done, TIMEOUT)
            except RequestError as error:
                asyncio.get_running_loop().call_soon(on_done, error)

        def on_done(outcome: Outcome) -> None:
            if not self.running:
                self._live -= 1
                if not self._live:
                    self._idle.set()
            elif isinstance(outcome, RequestError):
                self.errors += 1
                self.first_error = self.first_error or str(outcome)
                asyncio.get_running_loop().call_later(PAUSE_AFTER_ERROR_S, begin)
            else:
                record(_now() - begun)
                self.done += 1
                begin()

        begin()


def _key(number: int) -> bytes:
    return b"bench/%010d" % number
