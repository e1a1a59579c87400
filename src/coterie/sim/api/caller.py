"""A simulated caller of etcd's API: its calls, its patience, and the goal that it must reach in the end."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Final, Generic, NamedTuple, TypeVar

import msgspec
from google.protobuf.message import Message

from coterie.core.config import MILLISECOND
from coterie.core.types import MemberId, Nanos
from coterie.etcd.calls import ANYBODY, Caller
from coterie.etcd.status import Code
from coterie.etcd.wire import rpc
from coterie.sim.api.judge import ApiHistory
from coterie.sim.api.watches import item_of
from coterie.sim.api.wire import UNBOUNDED, Call, Calls
from coterie.sim.chance import exponential, happens, stream
from coterie.sim.history import Op
from coterie.sim.options import Options

R = TypeVar("R", bound=Message)
THINK: Final = (10 * MILLISECOND, 25 * MILLISECOND, 60 * MILLISECOND)
"""Mean times between two things that a caller does: it draws one of these."""
CUT_PERMILLE: Final = 8
"""Thoughts in a thousand at which some call's connection breaks, in a world with partitions."""
MOVE_PERMILLE: Final = 15
"""And at which a caller goes to another member for no reason."""
SHARED_KEYS: Final = 4
"""As native clients have them (`workload.KEYS`)."""


class Method(NamedTuple, Generic[R]):
    """One of the API's."""

    path: str
    response: type[R]


RANGE: Final = Method("/etcdserverpb.KV/Range", rpc.RangeResponse)
PUT: Final = Method("/etcdserverpb.KV/Put", rpc.PutResponse)
DELETE: Final = Method("/etcdserverpb.KV/DeleteRange", rpc.DeleteRangeResponse)
TXN: Final = Method("/etcdserverpb.KV/Txn", rpc.TxnResponse)
COMPACT: Final = Method("/etcdserverpb.KV/Compact", rpc.CompactionResponse)


class Refused(msgspec.Struct, frozen=True):
    """How a call ended without an answer."""

    code: Code
    text: str

    @property
    def happened(self) -> str:
        """Whether the call took effect, as `docs/etcd.md` has it: `no` or `unknown`."""
        lost = self.code in (Code.CANCELLED, Code.DEADLINE_EXCEEDED) or "connection closed" in self.text
        return "unknown" if lost or "request timed out" in self.text or "leader changed" in self.text else "no"

    def says(self, words: str) -> bool:
        """Whether these are among its words."""
        return words in self.text


GAVE_UP: Final = Refused(Code.DEADLINE_EXCEEDED, "the caller's patience is over")


class ApiCaller(ABC):
    """See `clients.Client`. What each kind does is in `do`; the goal is the same for all: a read and a write."""

    def __init__(self, number: int, options: Options, members: list[MemberId], calls: Calls, judge: ApiHistory) -> None:
        self.number = number
        self.judge = judge
        self._options = options
        self._members = members
        self._calls = calls
        self.rng: random.Random = stream(options.seed, f"api client {number}")
        self.patience: Nanos = options.election_timeout * self.rng.randrange(2, 12)
        self._think = self.rng.choice(THINK)
        self._thinking = False
        self._at = self.rng.choice(members)
        self._under_way: dict[int, Call] = {}
        """Calls with one answer each."""
        self._values = 0
        self._rests_until: Nanos = 0
        """It begins nothing before: it was turned away."""
        self.goal = False
        self._read = self._wrote = False
        self._busy = False
        """A call of the goal's is under way."""
        self.think()

    # -- see `clients.Client` ----------------------------------------------------------------------

    @property
    def satisfied(self) -> bool:
        """See `Client`."""
        return self.goal and self._read and self._wrote and not self._under_way and self.at_rest

    def stay_within(self, members: list[MemberId]) -> None:
        """See `Client`."""
        self._members = members
        self.goal = True
        self.wind_up()
        self.think()

    def read_again(self) -> None:
        """See `Client`."""
        self._read = False
        self.think()

    def crash(self) -> None:
        """See `Client`."""
        for call in list(self._under_way.values()):
            self._calls.cut(call)
        self.forget()

    def describe(self) -> str:
        """See `Client`."""
        paths = [f"call {number} of {call.member}" for number, call in self._under_way.items()]
        return (
            f"api {type(self).__name__} {self.number} (wrote {self._wrote}, read {self._read}, {paths}, {self.state})"
        )

    # -- each kind's own ---------------------------------------------------------------------------

    @abstractmethod
    def do(self) -> None:
        """One more thing, before the goal is set."""

    @property
    def at_rest(self) -> bool:
        """Nothing is left to wait for but calls."""
        return True

    @property
    def state(self) -> str:
        """What it waits for, in words."""
        return ""

    def tend(self) -> None:
        """What must go on whatever the goal is, with every thought."""
        return

    def wind_up(self) -> None:
        """The goal is set: begin nothing more."""
        return

    def forget(self) -> None:
        """Its process has ended: what it knew is gone."""
        return

    # -- thinking ------------------------------------------------------------------------------------

    @property
    def now(self) -> Nanos:
        """True time."""
        return self._calls.schedule.now

    def after(self, delay: Nanos, what: Callable[[], None]) -> None:
        """Do this after a while."""
        self._calls.schedule.after(delay, f"api client {self.number}", what)

    def think(self) -> None:
        """Do something soon."""
        if not self._thinking:
            self._thinking = True
            self.after(exponential(self.rng, self._think), self._act)

    def _act(self) -> None:
        self._thinking = False
        if not self.satisfied:
            self.think()
        self.tend()
        if self.goal:
            self._seek_goal()
            return
        if happens(self.rng, MOVE_PERMILLE):
            self.move()
        if self._options.has("partition") and self._under_way and happens(self.rng, CUT_PERMILLE):
            self._calls.cut(self.rng.choice(list(self._under_way.values())))
        if self.now >= self._rests_until:
            self.do()

    def move(self) -> None:
        """From now on to another member, or the same."""
        self._at = self.rng.choice(self._members)

    def member(self) -> MemberId:
        """Whom it calls at present."""
        if self._at not in self._members:
            self.move()
        return self._at

    # -- calls -----------------------------------------------------------------------------------

    @property
    def waits_here(self) -> int:
        """Calls under way at the member that it calls at present; those elsewhere it waits for no longer."""
        here = self.member()
        return sum(call.member == here for call in self._under_way.values())

    def ask(self, method: Method[R], request: Message, then: Callable[[R | Refused], None]) -> None:
        """Call a method that has one answer. `then` is called once, unless the process ends first."""
        got: list[bytes] = []

        def finished(code: Code, text: str) -> None:
            del self._under_way[call.number]
            if code is Code.OK:
                self.judge.figures.calls += 1
                (answer,) = got
                then(method.response.FromString(answer))
                return
            if code is Code.UNAVAILABLE:
                self.move()
                self._rests_until = self.now + self._options.election_timeout // 4
            then(Refused(code, text))

        call = self._calls.open(self.member(), method.path, request.SerializeToString(), got.append, finished)
        self._under_way[call.number] = call
        self.after(self.patience, partial(self._give_up, call, then))

    def _give_up(self, call: Call, then: Callable[[Refused], None]) -> None:
        if self._under_way.pop(call.number, None) is not None:
            self._calls.cancel(call)
            self.move()
            then(GAVE_UP)

    def stream(
        self,
        method: Method[R],
        told: Callable[[R, int], None],
        ended: Callable[[Refused], None],
        *,
        window: int = UNBOUNDED,
        caller: Caller = ANYBODY,
    ) -> Call:
        """Open a stream. `told` gets each message, and its size in bytes."""

        def receive(message: bytes) -> None:
            told(method.response.FromString(message), len(message))

        def finished(code: Code, text: str) -> None:
            self.move()
            ended(Refused(code, text))

        return self._calls.open(self.member(), method.path, None, receive, finished, window=window, caller=caller)

    # -- the goal, and what all kinds do on the shared keys -----------------------------------------

    def _seek_goal(self) -> None:
        if self._busy or (self._read and self._wrote):
            return
        self._busy = True
        if not self._read:
            self.read_shared(self._shared_key(), serializable=False, then=self._goal_read)
        else:
            self.write_shared(self._shared_key(), self._goal_wrote)

    def _goal_read(self, succeeded: bool) -> None:
        self._busy = False
        self._read |= succeeded

    def _goal_wrote(self, succeeded: bool) -> None:
        self._busy = False
        self._wrote |= succeeded

    def _shared_key(self) -> bytes:
        return b"r%d" % self.rng.randrange(SHARED_KEYS)

    def value(self) -> bytes:
        """A new one, unique in the run."""
        self._values += 1
        return b"%d.%d" % (self.number, self._values)

    def begin(self, kind: str, key: bytes, value: bytes = b"") -> Op:
        """Note an operation's beginning: see `history.Op`."""
        return self.judge.begin(self.number, kind, key, value, self.now)

    def read_shared(self, key: bytes, *, serializable: bool, then: Callable[[bool], None]) -> None:
        """Read one key that native clients use, too."""
        op = self.begin("stale" if serializable else "get", key)

        def done(answer: rpc.RangeResponse | Refused) -> None:
            if isinstance(answer, Refused):
                self.judge.fail(op, self.now, answer.happened)
            else:
                self.judge.got_items(op, answer.header.revision, [item_of(found) for found in answer.kvs])
            then(not isinstance(answer, Refused))

        self.ask(RANGE, rpc.RangeRequest(key=key, serializable=serializable), done)

    def write_shared(self, key: bytes, then: Callable[[bool], None]) -> None:
        """Write one of them."""
        value = self.value()
        op = self.begin("put", key, value)

        def done(answer: rpc.PutResponse | Refused) -> None:
            if isinstance(answer, Refused):
                self.judge.fail(op, self.now, answer.happened)
            else:
                self.judge.wrote(op, self.now, answer.header.revision, True)
            then(not isinstance(answer, Refused))

        self.ask(PUT, rpc.PutRequest(key=key, value=value), done)
