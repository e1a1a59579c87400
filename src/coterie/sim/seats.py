"""Members of a shipped core for `small_world`: each alone with its disk, without time; copied, and compared by all that
can still make a difference."""

from __future__ import annotations

import copy
import random
from collections import deque
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from coterie.core.config import ReplicaConfig
from coterie.core.messages import (
    Accepted,
    AppendReply,
    Message,
    Prepare,
    Promise,
    RequestVote,
    VoteReply,
)
from coterie.core.protocols import make_replica
from coterie.core.records import Put, Record, Recovered, SaveHardState, StoreBatch, Truncate
from coterie.core.replica import Replica
from coterie.core.types import (
    NO_EPOCH,
    NOBODY,
    Entry,
    EntryKind,
    HardState,
    Index,
    Mark,
    Member,
    MemberId,
    Membership,
    Role,
    SnapshotMeta,
)
from coterie.core.whims import Whim, Whims

MEMBERS: Final[tuple[MemberId, ...]] = (1_000_001, 1_000_002, 1_000_003)
"""Numbers that stand for nothing else, so that two members can change places in a state."""
EMPTY: Final = SnapshotMeta(0, NO_EPOCH, Membership((), ()))
Sent: TypeAlias = tuple[MemberId, MemberId, Message]
Renaming: TypeAlias = Mapping[MemberId, MemberId]


class Prodded(Whims):
    """The timer of a member runs out when the model says so."""

    def __init__(self) -> None:
        self.now = False

    def takes(self, whim: Whim) -> bool:
        """See `Whims.takes`."""
        return self.now and whim is Whim.EARLY_ELECTION


class Dice(random.Random):
    """All draws are alike: what they decide, time, stands still."""

    def randrange(self, *_: Any) -> int:
        """The least."""
        return 0


TIMER: Final = Prodded()
CONFIG: Final = ReplicaConfig(whims=TIMER)
DICE: Final = Dice()


def first_entry() -> Entry:
    """The membership that all begin with."""
    members = tuple(Member(m, f"n{number}", f"n{number}:1", "") for number, m in enumerate(MEMBERS, 1))
    return Entry(1, NO_EPOCH, EntryKind.MEMBERSHIP, 0, msgspec.msgpack.encode(Membership(members, MEMBERS)))


class Platter:
    """What a member's disk holds."""

    def __init__(self) -> None:
        self.entries: list[Entry] = [first_entry()]
        self.hard_state = HardState()

    def perform(self, record: Record) -> None:
        """Write one record."""
        if isinstance(record, Put):
            for entry in record.entries:
                self.entries[entry.index - 1 : entry.index] = [entry]
        elif isinstance(record, Truncate):
            del self.entries[record.first - 1 :]
        elif isinstance(record, SaveHardState):
            self.hard_state = record.state
        else:
            raise TypeError(f"{record}: no snapshots are taken here")

    def recovered(self) -> Recovered:
        """What a restart finds."""
        runs = [
            (e.index, e.epoch) for at, e in enumerate(self.entries) if not at or self.entries[at - 1].epoch != e.epoch
        ]
        return Recovered(
            hard_state=self.hard_state,
            base=EMPTY,
            last_index=len(self.entries),
            epochs=tuple(runs),
            memberships=tuple(entry for entry in self.entries if entry.kind is EntryKind.MEMBERSHIP),
        )


class Reader:
    """The log store of a member."""

    def __init__(self, platter: Platter) -> None:
        self._platter = platter

    def entries(self, first: Index, last: Index, limit_bytes: int) -> Sequence[Entry]:
        """See `LogReader.entries`."""
        return self._platter.entries[first - 1 : last]


class Seat:
    """A member: its replica, its disk, what is on the way there, and what waits for that."""

    def __init__(self, protocol: str, own: MemberId) -> None:
        self.protocol = protocol
        self.own = own
        self.platter = Platter()
        self.batches: list[StoreBatch] = []
        self.problem = ""
        """What it did that is forbidden."""
        self.sent: list[Sent] = []
        self._start()

    def _start(self) -> None:
        self._held: deque[tuple[Mark, MemberId, Message]] = deque()
        self.batches = []
        self.replica: Replica = make_replica(
            self.protocol,
            own=self.own,
            config=CONFIG,
            recovered=self.platter.recovered(),
            reader=Reader(self.platter),
            applied=0,
            rng=DICE,
            now=0,
        )
        self._drain()

    # -- what can happen to it -------------------------------------------------------------------

    def time_out(self) -> None:
        """Its timer runs out: it calls an election."""
        TIMER.now = True
        self.replica.wake(0)
        TIMER.now = False
        self._drain()

    def forget_leader(self) -> None:
        """It sticks to no leader (Raft 6.2): safety must not rest on that, so this is the worst case."""
        if self.replica.role is not Role.LEADER and self.replica.leader != NOBODY:
            self.replica.connection_closed(0, self.replica.leader, True)
            self._drain()

    def hear(self, sender: MemberId, message: Message) -> None:
        """A message arrives."""
        self.replica.receive(0, sender, message)
        self._drain()

    def propose(self, payload: bytes) -> None:
        """It is asked to have something chosen."""
        self.replica.propose(0, 1, payload, prompt=True)
        self._drain()

    def lose_connection(self, peer: MemberId) -> None:
        """It believes that what it sent to a peer is lost, and sends it again."""
        self.replica.connection_closed(0, peer, False)
        self._drain()

    def sync(self) -> None:
        """The oldest batch reaches the disk."""
        batch = self.batches.pop(0)
        for record in batch.records:
            self.platter.perform(record)
        self.replica.stored(0, batch.mark)
        while self._held and self._held[0][0] <= batch.mark:
            _, to, message = self._held.popleft()
            self._send(to, message)
        self._drain()

    def crash(self, records: int) -> None:
        """It ends, when so many records of the oldest batch are on the disk, and starts again."""
        for record in self.batches[0].records[:records] if records else ():
            self.platter.perform(record)
        self._start()

    def _drain(self) -> None:
        more = True
        while more and not self.problem:
            effects = self.replica.drain(0)
            if effects.alarm is not None:
                self.problem = f"alarm: {effects.alarm.rule}: {effects.alarm.evidence}"
                return
            for to, message in effects.send:
                self._send(to, message)
            if effects.store is not None:
                self.batches.append(effects.store)
            self._held.extend(effects.send_after)
            more = effects.more

    # -- what it may not do ----------------------------------------------------------------------

    def _send(self, to: MemberId, message: Message) -> None:
        self.problem = self.problem or self._unfounded(to, message)
        self.sent.append((self.own, to, message))

    def _unfounded(self, to: MemberId, message: Message) -> str:
        """What a message says, its sender's disk must hold ("durable before sent")."""
        disk, state = self.platter, self.platter.hard_state
        name = f"{type(message).__name__} of {name_of(self.own)}"
        match message:
            case RequestVote() | Prepare() | Promise() if state.epoch < message.epoch:
                return f"{name} in {message.epoch}; its disk has {state.epoch}"
            case VoteReply(granted=True) if (state.epoch, state.vote) != (message.epoch, to) and (
                state.epoch <= message.epoch
            ):
                return f"{name} votes for {name_of(to)} in {message.epoch}; its disk has {state.epoch}, {state.vote}"
            case Promise() if any(disk.entries[e.index - 1 : e.index] != [e] for e in message.entries):
                return f"{name} reports what is not on its disk"
            case AppendReply(accepted=True) | Accepted(accepted=True):
                if message.index > len(disk.entries) or state.epoch < message.epoch:
                    return f"{name} acknowledges {message.index} in {message.epoch}; its disk has {len(disk.entries)}"
        return ""

    def log(self) -> list[Entry]:
        """All that it was told to store, durable or not."""
        written = Platter()
        written.entries = self.platter.entries.copy()
        for batch in self.batches:
            for record in batch.records:
                written.perform(record)
        return written.entries

    # -- what is compared ------------------------------------------------------------------------

    def key(self, renaming: Renaming) -> Hashable:
        """All that can make a difference to what becomes of it, with members renamed."""
        look = _Look(renaming, self.replica)
        stored = look.stored
        return (
            look.at(self.own),
            self.problem,
            look.at(self.platter.entries),
            look.at(self.platter.hard_state),
            tuple(look.at(batch.records) for batch in self.batches),
            tuple((mark - stored, look.at(to), look.at(message)) for mark, to, message in self._held),
            look.at(self.replica),
        )

    def copy(self, shared: dict[int, Any]) -> Seat:
        """An independent copy; `shared`: what it need not copy, by identity."""
        return copy.deepcopy(self, dict(shared))

    def constants(self) -> dict[int, Any]:
        """What a copy may share, for it never changes: most of it."""
        return constants_of(self, (CONFIG, DICE, TIMER))


def name_of(member: MemberId) -> str:
    """As people read it."""
    return f"n{MEMBERS.index(member) + 1}" if member in MEMBERS else str(member)


def message_key(sent: Sent, renaming: Renaming) -> Hashable:
    """A message, with members renamed."""
    look = _Look(renaming, None)
    sender, to, message = sent
    return look.at(sender), look.at(to), look.at(message)


def constants_of(value: object, known: Sequence[object] = ()) -> dict[int, Any]:
    """What copies of a value may share with it, for it never changes: most of a member never does, and copying takes
    most of the time. By identity, as `copy.deepcopy` wants to be told. `known`: what need not be looked at."""
    memo: dict[int, Any] = {id(each): each for each in known}
    copy.deepcopy(value, memo)
    # What was met on the way is kept alive under the memo's own identity.
    parts = [each for each in memo[id(memo)] if _is_constant(each)]
    return {id(each): each for each in (*parts, *known)}


def _is_constant(value: object) -> bool:
    """A value that can be hashed by what it holds holds nothing that changes."""
    if not isinstance(value, (msgspec.Struct, tuple)):
        return False
    try:
        hash(value)
    except TypeError:
        return False
    return isinstance(value, tuple) or value.__struct_config__.frozen


IRRELEVANT: Final = frozenset(
    {
        *("reason", "membership_reason", "detail", "_announcement", "_settled", "config", "rng", "_config"),
        *("_timeout", "_attempts", "_hints_left", "_since", "_unsynced", "_others"),
        *("_cache", "_cache_first", "_cached_bytes", "_weights", "_appended_bytes", "_reader", "_dirty"),
    }
)
"""Words for people; time, which stands still; what can be read from the disk as well."""
MARKS: Final = frozenset({"last_mark", "stored_mark", "mark", "_epoch_mark", "_own_vote_mark"})
"""Numbers of batches: only how far they are ahead of what is stored matters."""


class _Look:
    """One look at a value."""

    def __init__(self, renaming: Renaming, replica: Replica | None) -> None:
        self._renaming = renaming
        self._seen: dict[int, int] = {}
        self.stored: Mark = _stored_mark(replica) if replica is not None else 0

    def at(self, value: Any) -> Hashable:
        """All that a value is made of."""
        if isinstance(value, int) and not isinstance(value, bool):
            return self._renaming.get(value, value)
        if value is None or isinstance(value, (bool, str, bytes, type)):
            return value
        if isinstance(value, (Membership, ReplicaConfig, random.Random)):
            return None  # They never change here.
        if isinstance(value, (set, frozenset)):
            return frozenset(self.at(each) for each in value)
        if isinstance(value, dict):
            return frozenset((self.at(key), self.at(each)) for key, each in value.items())
        if isinstance(value, msgspec.Struct):
            return (type(value), *(self._field(name, getattr(value, name)) for name in value.__struct_fields__))
        if isinstance(value, tuple) and value and all(each in MEMBERS for each in value):
            return frozenset(self.at(each) for each in value)
        if isinstance(value, (list, tuple, deque)):
            return tuple(self.at(each) for each in value)
        if id(value) in self._seen:
            return ("again", self._seen[id(value)])
        self._seen[id(value)] = len(self._seen)
        slots = [slot for kind in type(value).__mro__ for slot in getattr(kind, "__slots__", ())]
        names = sorted({*getattr(value, "__dict__", {}), *slots})
        parts = [(name, getattr(value, name)) for name in names if hasattr(value, name)]
        return (type(value), *((name, self._field(name, part)) for name, part in parts if not callable(part)))

    def _field(self, name: str, value: Any) -> Hashable:
        if name in IRRELEVANT:
            return None
        if name in MARKS:
            return None if value is None else max(0, value - self.stored)
        if name == "_written":
            return tuple((mark - self.stored, index) for mark, index in value)
        return self.at(value)


def _stored_mark(replica: Any) -> Mark:
    mark: Mark = replica._state.outbox.stored_mark
    return mark
