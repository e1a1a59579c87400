"""What clients do: unique writes, comparing writes and reads of few keys, and what they make of the answers."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from coterie.core.types import MemberId, Nanos
from coterie.engine.protocol import Answer, ReadMode
from coterie.machine.interface import StateMachine
from coterie.machine.kv import protocol as kv
from coterie.machine.kv.machine import KeyValue
from coterie.sim.chance import happens
from coterie.sim.history import History, Op
from coterie.sim.subject import Errand, Subject, Work

KEYS: Final = 4
"""Registers that clients share; as many again are written by compare-and-set."""
READS_FROM: Final = 50
"""Draws from a hundred below this are writes."""
MODES: Final = {"get": ReadMode.LINEARIZABLE, "session": ReadMode.SESSION, "stale": ReadMode.STALE}


MakeMachine = Callable[[MemberId], StateMachine]


def honest(member: MemberId) -> StateMachine:
    """The machine that every member runs, unless a test plants another."""
    return KeyValue()


class KeyValueSubject(Subject):
    """The key-value machine, in a store or in memory, and the work of its clients."""

    def __init__(self, make_machine: MakeMachine = honest) -> None:
        super().__init__()
        self._make_machine = make_machine
        self.history = History(self.figures)

    @property
    def judge(self) -> History:
        """See `Subject`."""
        return self.history

    def machine(self, member: MemberId) -> StateMachine:
        """See `Subject`."""
        return self._make_machine(member)

    def work(self, number: int, rng: random.Random) -> Work:
        """See `Subject`."""
        return Workload(number, rng, self.history)


class Workload:
    """One client's operations. Every written value is unique, so a history says who read from whom."""

    def __init__(self, number: int, rng: random.Random, history: History) -> None:
        self._number = number
        self._rng = rng
        self._history = history
        self._values = 0
        self._reader = number % 3 == 2
        """It only reads. (At a leader that is cut off, those that write, too, wait for that, and ask nothing more.)"""
        self.seen = 0
        """Newest revision that this client was told of."""
        self.goal = False
        """See `Work`: read until one read has succeeded, then write until one write has."""
        self.wrote = self.read = False

    @property
    def reached(self) -> bool:
        """See `Work`."""
        return self.goal and self.wrote and self.read

    def next(self, now: Nanos) -> Errand:
        """See `Work`."""
        draw = self._rng.randrange(100)
        key = b"%d" % self._rng.randrange(KEYS)
        if self.goal:
            draw = 60 if not self.read else 0
        elif self._reader:
            draw = max(draw, READS_FROM)
        if draw < 40:
            return self._write("put", b"r" + key, now)
        if draw < 50:
            return self._write("cas", b"c" + key, now)
        if draw < 80:
            return self._read("get", self._rng.choice((b"r", b"c")) + key, now)
        return self._read("session" if draw < 90 else "stale", b"r" + key, now)

    def _write(self, kind: str, key: bytes, now: Nanos) -> Errand:
        self._values += 1
        value = b"%d.%d" % (self._number, self._values)
        if happens(self._rng, 100):
            value += b"." * self._rng.randrange(300, self._rng.choice((2000, 20000)))
        command: kv.Command = kv.Put(key, value)
        if kind == "cas":
            current = self._history.latest(key)[0] if self._rng.randrange(4) else self._rng.randrange(1, 50)
            guard = kv.Compare(key, kv.Target.MOD, kv.Relation.EQUAL, number=current)
            command = kv.Txn((guard,), (kv.Put(key, value),), (kv.Range(key),))
        op = self._history.begin(self._number, kind, key, value, now)
        return Errand(op, kv.encoder.encode(command), ReadMode.LINEARIZABLE, 0)

    def _read(self, kind: str, key: bytes, now: Nanos) -> Errand:
        op = self._history.begin(self._number, kind, key, b"", now)
        at_least = self.seen if kind == "session" else 0
        return Errand(op, kv.encoder.encode(kv.Range(key)), MODES[kind], at_least)

    def answered(self, errand: Errand, answer: Answer, now: Nanos) -> None:
        """See `Work`."""
        op = errand.op
        assert isinstance(op, Op)
        self.seen = max(self.seen, answer.revision)
        reply = kv.reply_decoder.decode(answer.body)
        if isinstance(reply, kv.RangeReply):
            self._history.got(op, now, reply, answer.age, errand.at_least)
            self.read |= self.goal and op.kind == "get"
        elif isinstance(reply, kv.PutReply):
            self._history.wrote(op, now, reply.revision, True)
            self.wrote |= self.goal
        elif isinstance(reply, kv.TxnReply):
            self._history.wrote(op, now, reply.revision, reply.succeeded)

    def failed(self, errand: Errand, happened: str, now: Nanos) -> None:
        """See `Work`."""
        assert isinstance(errand.op, Op)
        self._history.fail(errand.op, now, happened)
