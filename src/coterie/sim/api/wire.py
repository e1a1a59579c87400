"""Calls between clients and members: each in order, each way for itself, late at times, until it ends or is cut."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from coterie.core.config import MILLISECOND
from coterie.core.types import MemberId, Nanos
from coterie.etcd.calls import ANYBODY, Caller
from coterie.etcd.status import Code
from coterie.sim.chance import exponential, happens
from coterie.sim.schedule import Schedule

if TYPE_CHECKING:
    from coterie.sim.api.host import ApiHost

USUAL_DELAY: Final[Nanos] = 300_000
"""Mean, one way."""
LATE_PERMILLE: Final = 20
"""Messages in a thousand that take long ..."""
LATE: Final = (20, 100, 600)
"""... a mean of one of these, in milliseconds."""
UNBOUNDED: Final = 1 << 62
"""A window of who reads all that comes."""
CONNECTION_LOST: Final = "the connection closed (simulated)"

TellHost = Callable[["ApiHost"], None]


class Members(Protocol):
    """What calls need of the world."""

    def life_of(self, member: MemberId) -> int:
        """Number of the member's process; 0: nobody listens."""
        ...

    def tell_host(self, member: MemberId, life: int, tell: TellHost) -> None:
        """Let this life of the member take something in with its next step; lost if it is over."""
        ...


class Call:
    """A client's end of one call."""

    def __init__(
        self,
        number: int,
        member: MemberId,
        life: int,
        receive: Callable[[bytes], None],
        finished: Callable[[Code, str], None],
    ) -> None:
        self.number = number
        self.member = member
        self.life = life
        self.receive = receive
        self.finished = finished
        self.to_member: Nanos = 0
        """Arrival of the newest message."""
        self.to_client: Nanos = 0
        self.over = False


class Calls:
    """All of them."""

    def __init__(self, schedule: Schedule, members: Members, rng: random.Random) -> None:
        self.schedule = schedule
        self._members = members
        self._rng = rng
        self._made = 0
        self._open: dict[int, Call] = {}
        self.late = True
        """False once the world is healed."""

    def _delay(self) -> Nanos:
        if self.late and happens(self._rng, LATE_PERMILLE):
            return exponential(self._rng, self._rng.choice(LATE) * MILLISECOND)
        return exponential(self._rng, USUAL_DELAY)

    # -- for clients ---------------------------------------------------------------------------

    def open(
        self,
        member: MemberId,
        path: str,
        message: bytes | None,
        receive: Callable[[bytes], None],
        finished: Callable[[Code, str], None],
        *,
        window: int = UNBOUNDED,
        caller: Caller = ANYBODY,
    ) -> Call:
        """Call a method: with its one message, or (None) as a stream. The member sends no more than `window` bytes
        that were not `read`. `finished` is called once, and nothing after it."""
        self._made += 1
        number, life = self._made, self._members.life_of(member)
        call = self._open[number] = Call(number, member, life, receive, finished)
        if not life:
            self.schedule.after(
                USUAL_DELAY, "call refused", lambda: self._finish(call, Code.UNAVAILABLE, CONNECTION_LOST)
            )
            return call
        self.schedule.record(path.encode())
        self._to_member(call, message or b"", lambda host: host.begin(number, path, message, caller, window))
        return call

    def say(self, call: Call, message: bytes) -> None:
        """One more message of a stream."""
        self._to_member(call, message, lambda host: host.received(call.number, message))

    def half_close(self, call: Call) -> None:
        """No more messages."""
        self._to_member(call, b"", lambda host: host.half_closed(call.number))

    def read(self, call: Call, size: int) -> None:
        """So many bytes of what came were taken."""
        self._to_member(call, b"", lambda host: host.credited(call.number, size))

    def cancel(self, call: Call) -> None:
        """Give up: nothing more comes. The member hears of it, some time or other; `finished` is not called."""
        if not call.over:
            self._to_member(call, b"", lambda host: host.cancelled(call.number))
            self._close(call)

    def cut(self, call: Call) -> None:
        """The connection breaks: the client knows at once, the member perhaps only after seconds."""
        if not call.over:
            call.to_member += exponential(self._rng, self._rng.choice(LATE) * MILLISECOND)
            self._to_member(call, b"", lambda host: host.cancelled(call.number))
            self._finish(call, Code.UNAVAILABLE, CONNECTION_LOST)

    def _to_member(self, call: Call, data: bytes, tell: TellHost) -> None:
        if call.over or not call.life:
            return
        self.schedule.record(data)
        call.to_member = max(call.to_member, self.schedule.now + self._delay())
        self.schedule.at(call.to_member, "call", partial(self._members.tell_host, call.member, call.life, tell))

    def _close(self, call: Call) -> None:
        call.over = True
        self._open.pop(call.number, None)

    def _finish(self, call: Call, code: Code, text: str) -> None:
        if not call.over:
            self._close(call)
            call.finished(code, text)

    # -- for members ---------------------------------------------------------------------------

    def answer(self, number: int, message: bytes) -> None:
        """A message for the client."""
        if (call := self._open.get(number)) is not None:
            self.schedule.record(message)
            call.to_client = max(call.to_client, self.schedule.now + self._delay())
            self.schedule.at(call.to_client, "answer", lambda: None if call.over else call.receive(message))

    def end(self, number: int, code: Code, text: str) -> None:
        """The member ends the call, after what it has sent."""
        if (call := self._open.get(number)) is not None:
            self.schedule.record(text.encode())
            call.to_client = max(call.to_client, self.schedule.now + self._delay())
            self.schedule.at(call.to_client, "call ends", lambda: self._finish(call, code, text))

    def member_died(self, member: MemberId) -> None:
        """The process has ended: its calls close, after what it had sent."""
        for call in [call for call in self._open.values() if call.member == member]:
            self.end(call.number, Code.UNAVAILABLE, CONNECTION_LOST)
