"""A small machine, and others that are wrong in one way each."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from coterie.machine.interface import Batch, Rejected, StateMachine

MOST = 40


class Tally(StateMachine):
    """Counts under names: `b"a"` adds one to a; a name longer than one byte, or a count above `MOST`, is rejected."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def apply(self, batch: Batch) -> Sequence[bytes | Rejected]:
        return [self.add(batch, command.decode()) for command in batch.commands]

    def add(self, batch: Batch, name: str) -> bytes | Rejected:
        if len(name) != 1:
            return Rejected(f"{name!r} is not one letter")
        if self.counts.get(name, 0) >= MOST:
            return Rejected(f"{name!r} has {MOST}")
        self.counts[name] = self.counts.get(name, 0) + 1
        return b"%d" % self.counts[name]

    def query(self, question: bytes) -> bytes | Rejected:
        return b"%d" % self.counts.get(question.decode(), 0)

    def snapshot(self) -> Iterator[bytes]:
        yield msgspec.msgpack.encode(sorted(self.counts.items()))

    def restore(self, chunks: Iterable[bytes]) -> None:
        self.counts = dict(msgspec.msgpack.decode(b"".join(chunks), type=list[tuple[str, int]]))

    def digest(self) -> bytes:
        return b"".join(self.snapshot())


class Dice(Tally):
    def add(self, batch: Batch, name: str) -> bytes | Rejected:
        reply = super().add(batch, name)
        self.counts[name[:1]] += random.randrange(2)
        return reply


class Clock(Tally):
    def add(self, batch: Batch, name: str) -> bytes | Rejected:
        reply = super().add(batch, name)
        return reply if isinstance(reply, Rejected) else b"%d" % time.monotonic_ns()


class Address(Tally):
    def add(self, batch: Batch, name: str) -> bytes | Rejected:
        reply = super().add(batch, name)
        return reply if isinstance(reply, Rejected) else b"%d" % id(self)


class SetOrder(Tally):
    """Within one process every copy has the same order."""

    def add(self, batch: Batch, name: str) -> bytes | Rejected:
        reply = super().add(batch, name)
        return reply if isinstance(reply, Rejected) else "".join(set(self.counts)).encode()


class Batchwise(Tally):
    """Looks at the state before the batch, not before the command."""

    def apply(self, batch: Batch) -> Sequence[bytes | Rejected]:
        before = dict(self.counts)
        return [self.reply(before, super(Batchwise, self).add(batch, each.decode()), each) for each in batch.commands]

    def reply(self, before: dict[str, int], reply: bytes | Rejected, name: bytes) -> bytes | Rejected:
        return reply if isinstance(reply, Rejected) else b"%d" % (before.get(name.decode(), 0) + 1)


class Forgetful(Tally):
    """Neither its snapshot nor its digest holds what a reply depends on."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def add(self, batch: Batch, name: str) -> bytes | Rejected:
        self.total += 1
        reply = super().add(batch, name)
        return reply if isinstance(reply, Rejected) else b"%d" % self.total


class Merging(Tally):
    """`restore` leaves something of the old state: counts that are gone (at 5) in the new one."""

    def add(self, batch: Batch, name: str) -> bytes | Rejected:
        reply = super().add(batch, name)
        if self.counts.get(name) == 5:
            del self.counts[name]
        return reply

    def restore(self, chunks: Iterable[bytes]) -> None:
        self.counts |= dict(msgspec.msgpack.decode(b"".join(chunks), type=list[tuple[str, int]]))


class Thawing(Tally):
    def frozen(self) -> Iterable[bytes]:
        return self.snapshot()  # a generator: it looks at the state when it is iterated


class Raising(Tally):
    def add(self, batch: Batch, name: str) -> bytes | Rejected:
        if name == "c":
            raise KeyError(name)
        return super().add(batch, name)


class Hasty(Tally):
    """Changes something before it rejects."""

    def add(self, batch: Batch, name: str) -> bytes | Rejected:
        self.counts[name[:1]] = self.counts.get(name[:1], 0)
        return super().add(batch, name)


class Curious(Tally):
    def query(self, question: bytes) -> bytes | Rejected:
        self.counts["?"] = self.counts.get("?", 0) + 1
        return super().query(question)


class Wordy(Tally):
    def add(self, batch: Batch, name: str) -> bytes | Rejected:
        reply = super().add(batch, name)
        return reply if isinstance(reply, Rejected) else bytearray(reply)  # type: ignore[return-value]  # that is wrong


class Receding(Tally):
    def revision(self) -> int | None:
        return -sum(self.counts.values())


def letters(rng: random.Random) -> bytes:
    """Commands, of which a few are rejected."""
    return rng.choice((b"a", b"b", b"c", b"d", b"zz"))


class Fading(Tally):
    """A count is gone `FADES` after its last addition, whether or not a command comes then."""

    FADES = 150_000_000

    def __init__(self) -> None:
        super().__init__()
        self.until: dict[str, int] = {}

    def add(self, batch: Batch, name: str) -> bytes | Rejected:
        reply = super().add(batch, name)
        if isinstance(reply, bytes):
            self.until[name] = batch.time + self.FADES
        return reply

    def next_timer(self) -> int | None:
        return min(self.until.values(), default=None)

    def pass_time(self, index: int, time: int) -> None:
        for name in sorted(self.until):
            if self.until[name] <= time:
                del self.until[name], self.counts[name]

    def snapshot(self) -> Iterator[bytes]:
        yield msgspec.msgpack.encode([sorted(self.counts.items()), sorted(self.until.items())])

    def restore(self, chunks: Iterable[bytes]) -> None:
        kind = tuple[list[tuple[str, int]], list[tuple[str, int]]]
        counts, until = msgspec.msgpack.decode(b"".join(chunks), type=kind)
        self.counts, self.until = dict(counts), dict(until)


class Sleepless(Fading):
    """Its timer is not in its snapshot."""

    def snapshot(self) -> Iterator[bytes]:
        return Tally.snapshot(self)

    def restore(self, chunks: Iterable[bytes]) -> None:
        Tally.restore(self, chunks)
        self.until = {}


class Erratic(Fading):
    """What it does when time passes is decided by dice."""

    def pass_time(self, index: int, time: int) -> None:
        super().pass_time(index, time)
        self.counts["z"] = random.getrandbits(20)


class Bursting(Fading):
    """Raises when time passes."""

    def pass_time(self, index: int, time: int) -> None:
        raise KeyError(index)
