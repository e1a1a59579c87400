"""The last stretch of a simulated run before a law was broken, as a recording that can be drawn.

A run has hundreds of thousands of events, a reader has patience for some dozens. What decides is rare and may be long
past (elections, crashes, partitions), what is common is seen only in the last moments: so each sort has a memory of its
own, and the drawing leaves out the idle time between them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import chain
from typing import Final, TypeVar

from coterie.core.config import MILLISECOND
from coterie.core.messages import Message, StateDigest
from coterie.core.records import StoreBatch
from coterie.core.replica import Replica, RoleChange
from coterie.core.types import Index, Mark, MemberId, Membership, Nanos
from coterie.engine.protocol import Answer, Failure, Query, Request, Response, Submit
from coterie.lab.drawing.style import Sort, sort_of
from coterie.lab.recording import CLIENT, Event, Kind, Recording
from coterie.lab.wording import (
    ANSWERS,
    answer_words,
    failure_words,
    membership_words,
    message_words,
    name,
    request_words,
    role_words,
    write_words,
)
from coterie.sim.options import Options
from coterie.sim.verdict import Result
from coterie.sim.witness import Witness
from coterie.sim.world import simulate

K = TypeVar("K")
V = TypeVar("V")

DECISIVE, COMMON, READING = 48, 48, 24
"""Events of each sort that are kept, the last ones: elections, crashes and partitions; replication; reads and what
clients say."""
MAX_UNDER_WAY: Final = 4096
"""Messages and writes whose end is awaited; older ones are shown only if it came before."""
MAX_TEXT: Final = 60
"""Characters on an arrow or beside a mark."""
MAX_VERDICT: Final = 140
"""Characters of what is said of the law that was broken."""


def film(options: Options) -> tuple[Result, Recording]:
    """Run it, and keep its last stretch."""
    camera = Camera()
    result = simulate(options, camera)
    return result, camera.recording(options, result)


class Camera(Witness):
    """Keeps the last events of each sort."""

    def __init__(self) -> None:
        self._decisive: deque[tuple[int, Event]] = deque(maxlen=DECISIVE)
        self._common: deque[tuple[int, Event]] = deque(maxlen=COMMON)
        self._reading: deque[tuple[int, Event]] = deque(maxlen=READING)
        self._came: dict[int, tuple[int, Event]] = {}
        """Where messages came, by number."""
        self._sent: dict[int, Event] = {}
        self._writing: dict[tuple[MemberId, Mark], tuple[float, str]] = {}
        self._order = 0
        self._talks = 0
        self._up: set[MemberId] = set()
        self._known: set[MemberId] = set()
        """Who has started."""
        self._roles: dict[MemberId, str] = {}
        self._commits: dict[MemberId, Index] = {}
        self._memberships: dict[MemberId, Membership] = {}

    # -- see `Witness` -------------------------------------------------------------------------

    def sent(self, at: Nanos, number: int, source: MemberId, to: MemberId, message: Message) -> None:
        """See `Witness`. Digests of states are beside the point of a drawing, and so is who has never started."""
        if isinstance(message, StateDigest) or to not in self._known:
            return
        event = Event(
            at_ms=_ms(at),
            kind=Kind.SENT,
            source=name(source),
            to=name(to),
            text=_short(message_words(message)),
            type=type(message).__name__,
            message=number,
            answer=isinstance(message, ANSWERS),
        )
        self._remember(self._sent, number, event)
        memories = {Sort.ELECTION: self._decisive, Sort.REPLICATION: self._common}
        self._keep(memories.get(sort_of(event), self._reading), event)

    def arrived(self, at: Nanos, number: int) -> None:
        """See `Witness`."""
        self._come(at, number, lost=False)

    def lost(self, at: Nanos, number: int) -> None:
        """See `Witness`."""
        self._come(at, number, lost=True)

    def cut(self, at: Nanos, pairs: Sequence[tuple[MemberId, MemberId]]) -> None:
        """See `Witness`."""
        self._links(at, Kind.CUT, "link cut", pairs)

    def mended(self, at: Nanos, pairs: Sequence[tuple[MemberId, MemberId]]) -> None:
        """See `Witness`."""
        self._links(at, Kind.HEAL, "link back", pairs)

    def healed(self, at: Nanos) -> None:
        """See `Witness`."""
        self._mark(at, Kind.NOTE, min(self._up, default=1), "the whole network works from now on")

    def started(self, at: Nanos, member: MemberId) -> None:
        """See `Witness`."""
        self._up.add(member)
        self._known.add(member)
        self._mark(at, Kind.RESTART, member, "starts")

    def ended(self, at: Nanos, member: MemberId) -> None:
        """See `Witness`."""
        if member in self._up:
            self._up.remove(member)
            self._roles.pop(member, None)
            self._mark(at, Kind.CRASH, member, "crashes")

    def stepped(self, at: Nanos, member: MemberId, replica: Replica) -> None:
        """See `Witness`."""
        role = role_words(RoleChange(replica.role, replica.leader, replica.epoch, replica.membership, ""))
        if self._roles.get(member) != role:
            self._roles[member] = role
            self._mark(at, Kind.ROLE, member, role)
        if self._memberships.get(member) != replica.membership:
            self._memberships[member] = replica.membership
            self._mark(at, Kind.MEMBERSHIP, member, f"counts by {membership_words(replica.membership)}")
        if self._commits.get(member, 0) < replica.commit:
            self._commits[member] = replica.commit
            self._mark(at, Kind.COMMIT, member, f"commits to {replica.commit}")

    def wrote(self, at: Nanos, member: MemberId, batch: StoreBatch) -> None:
        """See `Witness`."""
        self._remember(self._writing, (member, batch.mark), (_ms(at), _short(write_words(batch.records))))

    def stored(self, at: Nanos, member: MemberId, mark: Mark) -> None:
        """See `Witness`."""
        began_ms, text = self._writing.pop((member, mark), (None, "all before"))
        self._keep(
            self._common,
            Event(
                at_ms=_ms(at), kind=Kind.DURABLE, source=name(member), to="", text=text, mark=mark, began_ms=began_ms
            ),
        )

    def asked(self, at: Nanos, client: int, member: MemberId, request: Request) -> None:
        """See `Witness`."""
        if isinstance(request, Submit | Query):
            self._talk(at, CLIENT, name(member), f"c{client} {request.id}: {request_words(request)}", answer=False)

    def answered(self, at: Nanos, member: MemberId, client: int, response: Response) -> None:
        """See `Witness`."""
        if isinstance(response, Answer):
            words = answer_words(response)
        elif isinstance(response, Failure):
            words = failure_words(response)
        else:
            return
        self._talk(at, name(member), CLIENT, f"c{client} {response.id}: {words}", answer=True)

    # -- what is kept --------------------------------------------------------------------------

    def _keep(self, memory: deque[tuple[int, Event]], event: Event) -> None:
        self._order += 1
        memory.append((self._order, event))

    def _remember(self, memory: dict[K, V], key: K, value: V) -> None:
        memory[key] = value
        if len(memory) > MAX_UNDER_WAY:
            del memory[next(iter(memory))]

    def _mark(self, at: Nanos, kind: Kind, member: MemberId, text: str) -> None:
        event = Event(at_ms=_ms(at), kind=kind, source=name(member), to="", text=_short(text))
        self._keep(self._common if kind is Kind.COMMIT else self._decisive, event)

    def _come(self, at: Nanos, number: int, *, lost: bool) -> None:
        sent = self._sent.pop(number, None)
        if sent is None:
            return
        nobody = sent.to not in {name(member) for member in self._up}
        self._order += 1
        kind = Kind.LOST if lost or nobody else Kind.RECEIVED
        came = Event(at_ms=_ms(at), kind=kind, source=sent.source, to=sent.to, text=sent.text, message=number)
        self._remember(self._came, number, (self._order, came))

    def _links(self, at: Nanos, kind: Kind, words: str, pairs: Sequence[tuple[MemberId, MemberId]]) -> None:
        for one, other in pairs:
            if (other, one) not in pairs or one < other:
                text = words if (other, one) in pairs else f"{words}, one way"
                self._keep(self._decisive, Event(at_ms=_ms(at), kind=kind, source=name(one), to=name(other), text=text))

    def _talk(self, at: Nanos, source: str, to: str, words: str, *, answer: bool) -> None:
        """A client's message takes so little time that it is shown where it arrives."""
        self._talks -= 1  # Members' messages have positive numbers.
        text, number = _short(words), self._talks
        event = Event(at_ms=_ms(at), kind=Kind.SENT, source=source, to=to, text=text, message=number, answer=answer)
        self._keep(self._reading, event)
        came = Event(at_ms=_ms(at), kind=Kind.RECEIVED, source=source, to=to, text=text, message=number)
        self._order += 1
        self._remember(self._came, number, (self._order, came))

    # -- the film ------------------------------------------------------------------------------

    def recording(self, options: Options, result: Result) -> Recording:
        """What is kept, in order. A message whose end is not known has changed nothing yet: it is left out."""
        kept: dict[int, Event] = {}
        for order, event in chain(self._decisive, self._common, self._reading):
            if event.kind is not Kind.SENT:
                kept[order] = event
            elif event.message in self._came:
                kept[order] = event
                came, end = self._came[event.message]
                kept[came] = end
        events = [kept[order] for order in sorted(kept)]
        lanes = {who for event in events for who in (event.source, event.to) if who}
        lifelines = tuple(sorted(lanes, key=lambda who: (who != CLIENT, len(who), who)))
        if result.check:
            broken = _short(result.detail.partition("\n")[0], MAX_VERDICT)
            where = lifelines[0] if lifelines else name(1)
            lifelines = lifelines or (where,)
            at_ms = _ms(result.ended_at)
            events.append(Event(at_ms=at_ms, kind=Kind.VIOLATION, source=where, to="", text=broken))
        title = f"{result.check or 'the end'}, {len(events)} last events of {options.command()}"
        return Recording(title, options.protocol, options.seed, lifelines, tuple(events))


def _ms(at: Nanos) -> float:
    return round(at / MILLISECOND, 2)


def _short(text: str, most: int = MAX_TEXT) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
