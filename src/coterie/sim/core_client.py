"""A simulated client that is the shipped client's core, with the world as its sockets and its clock."""

from __future__ import annotations

from functools import partial

from coterie.client.config import ClientConfig
from coterie.client.core import ClientCore
from coterie.client.endpoints import Endpoint
from coterie.client.errors import RequestError
from coterie.client.frames import FrameBuffer
from coterie.client.requests import NEVER, Outcome
from coterie.core.types import MemberId, Nanos
from coterie.engine.protocol import CLIENT_MAGIC, Response, encoder, request_decoder
from coterie.sim.chance import exponential, happens, stream
from coterie.sim.clients import MAX_IN_FLIGHT, SESSION_TTL, THINK, Wire
from coterie.sim.options import SECOND, Options
from coterie.sim.subject import Errand, Subject


class _Line:
    """One connection of the core: the bytes that it sends, cut into requests again."""

    def __init__(self) -> None:
        self.frames = FrameBuffer()
        self.greeted = False
        self.wire = 0
        """The world's number for it."""


class CoreClient:
    """The shipped `ClientCore`, driven as its shells drive it (`clients.Client`)."""

    def __init__(self, number: int, options: Options, members: list[MemberId], wire: Wire, subject: Subject) -> None:
        self._number = number
        self._wire = wire
        self._rng = stream(options.seed, f"client {number}")
        self._work = subject.work(number, self._rng)
        timeout = options.election_timeout
        config = ClientConfig(
            name=f"client {number}",
            connect_timeout=timeout,
            dial_stagger=timeout // 2,
            attempt_timeout=timeout * 2,
            quiet_timeout=timeout,
            silent_timeout=timeout * self._rng.choice((3, 12)),
            backoff_first=timeout // 20,
            backoff_longest=timeout,
            session_ttl=SESSION_TTL,
            session_window=self._rng.choice((1, 4, 2048)),
        )
        endpoints = [Endpoint(f"n{member}", 2) for member in members]
        self._cores = stream(options.seed, f"client core {number}")
        self._make = partial(ClientCore, endpoints, config, self._cores)
        self._core = self._make()
        self._timeout = timeout * self._rng.choice((4, 10, 40))
        self._offset = self._rng.randrange(10**6) * SECOND
        self._think = self._rng.choice(THINK)
        self._in_flight = self._rng.choice(MAX_IN_FLIGHT)
        self._lines: dict[int, _Line] = {}
        self._pending: dict[int, Errand] = {}
        self._begun = 0
        self._thinking = False
        self._wake_at: Nanos = 0
        self._schedule_think()

    # -- see `clients.Client` ----------------------------------------------------------------------

    @property
    def satisfied(self) -> bool:
        """See `Client`."""
        return self._work.reached and not self._pending

    def stay_within(self, members: list[MemberId]) -> None:
        """See `Client`. Nobody tells the core: it must find out by itself who answers."""
        self._work.goal = True

    def read_again(self) -> None:
        """See `Client`."""
        self._work.read = False
        self._schedule_think()

    def crash(self) -> None:
        """See `Client`."""
        for errand in self._pending.values():
            self._work.failed(errand, "unknown", self._wire.schedule.now)
        self._pending.clear()
        for line in self._lines.values():
            self._wire.close(line.wire)
        self._lines.clear()
        self._core = self._make()

    def describe(self) -> str:
        """See `Client`."""
        waiting = [errand.op for errand in self._pending.values()]
        return f"client {self._number} (wrote {self._work.wrote}, read {self._work.read}, waits for {waiting})"

    # -- operations ----------------------------------------------------------------------------

    @property
    def _now(self) -> Nanos:
        return self._offset + self._wire.schedule.now

    def _schedule_think(self) -> None:
        if not self._thinking:
            self._thinking = True
            self._wire.schedule.after(exponential(self._rng, self._think), f"client {self._number}", self._act)

    def _act(self) -> None:
        self._thinking = False
        if not self.satisfied:
            self._schedule_think()
        if len(self._pending) < (1 if self._work.goal else self._in_flight) and not self._work.reached:
            self._begin()

    def _begin(self) -> None:
        errand = self._work.next(self._wire.schedule.now)
        if errand is None:
            return
        self._begun += 1
        key = self._begun
        self._pending[key] = errand
        done = partial(self._done, key)
        if errand.op.write:
            once = not happens(self._rng, 200)
            self._core.submit(self._now, errand.payload, done, timeout=self._timeout, exactly_once=once)
        else:
            self._core.query(
                self._now, errand.payload, done, timeout=self._timeout, mode=errand.mode, at_least=errand.at_least
            )
        self._pump()

    def _done(self, key: int, outcome: Outcome) -> None:
        errand = self._pending.pop(key)
        now = self._wire.schedule.now
        if isinstance(outcome, RequestError):
            self._work.failed(errand, outcome.effect.value, now)
        else:
            self._work.answered(errand, outcome, now)

    # -- the core's world ----------------------------------------------------------------------

    def _pump(self) -> None:
        """Do what the core wants, after every input."""
        drained = self._core.drain(self._now)
        for number, endpoint in drained.connect:
            line = self._lines[number] = _Line()
            receive, closed = partial(self._receive, number), partial(self._closed, number)
            line.wire = self._wire.connect(self._number, self._wire.find(endpoint.host), receive, closed)
            self._wire.schedule.after(1, "dialled", partial(self._opened, number))
        for number, data in drained.send:
            self._send(number, data)
        for number in drained.close:
            if (found := self._lines.pop(number, None)) is not None:
                self._wire.close(found.wire)
        for done, outcome in drained.completions:
            done(outcome)
        if drained.deadline != NEVER:
            self._schedule_wake(drained.deadline - self._offset)

    def _send(self, number: int, data: bytes) -> None:
        line = self._lines.get(number)
        if line is None:
            return
        if not line.greeted:
            assert data.startswith(CLIENT_MAGIC)
            data = data[len(CLIENT_MAGIC) :]
            line.greeted = True
        for body in line.frames.feed(data):
            self._wire.request(line.wire, request_decoder.decode(body))

    def _schedule_wake(self, when: Nanos) -> None:
        now = self._wire.schedule.now
        if self._wake_at <= now or when < self._wake_at:
            self._wake_at = max(when, now + 1)
            self._wire.schedule.at(self._wake_at, f"client {self._number} wakes", self._wake)

    def _wake(self) -> None:
        self._core.wake(self._now)
        self._pump()

    def _opened(self, number: int) -> None:
        if number in self._lines:
            self._core.opened(self._now, number)
            self._pump()

    def _receive(self, number: int, _: int, response: Response) -> None:
        if number in self._lines:
            body = encoder.encode(response)
            data = len(body).to_bytes(4, "big") + body
            cut = self._rng.randrange(len(data))
            self._core.received(self._now, number, data[:cut])
            self._core.received(self._now, number, data[cut:])
            self._pump()

    def _closed(self, number: int, _: int) -> None:
        if self._lines.pop(number, None) is not None:
            self._core.closed(self._now, number, "the connection closed (simulated)")
            self._pump()
