"""What one commit costs when nothing is in the way: messages, bytes, round trips."""

from __future__ import annotations

from typing import Final

import msgspec

from coterie.core.config import MILLISECOND
from coterie.core.settings import Settings
from coterie.core.types import MemberId, Nanos
from coterie.lab.compare.load import Crowd, Work, measure, quantile
from coterie.lab.compare.section import Extent, Section, claim_each
from coterie.lab.compare.subjects import SHIPPED, SUBJECTS, Setting, Subject
from coterie.lab.experiment import Cell, Claim, Table
from coterie.lab.stage.geography import flat

ROUND_TRIP_MS: Final = 10.0
"""Between any two members. Disks take nothing here, so a latency is a number of round trips."""
SETTLE: Final[Nanos] = 1000 * MILLISECOND
ALONE_MS: Final = 20
"""Between two writes, so that nothing of one can travel with the next."""
ALIKE: Final = 1.25
"""Bytes of one protocol as a multiple of the other's, at most."""


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """Of one subject of one size."""

    subject: str
    members: int
    messages: float
    """Between members for a write, one right after the other at member 1, without what an idle cluster sends."""
    messages_alone: float
    """The same with pauses of `ALONE_MS`."""
    bytes: float
    idle: float
    """Messages a second of an idle cluster."""
    write: float
    """Round trips of a write at member 1: it leads, if somebody does."""
    write_elsewhere: float
    """At another member."""
    read: float
    read_elsewhere: float
    read_messages: float
    """Between members for a read at member 1."""


def cost(subject: Subject, members: int, extent: Extent, settings: Settings | None = None) -> Cost:
    """Run it: one client, one call at a time."""
    scene = subject.stage(_setting(members, extent.seed, settings if settings is not None else Settings()))
    scene.run_for(SETTLE)
    scene.meter.reset()
    scene.run_for(SETTLE)
    idle = scene.meter.messages.total() / (SETTLE / 1e9)
    idle_bytes = scene.meter.bytes.total() / (SETTLE / 1e9)
    duration = extent.times(600, 2500) * MILLISECOND

    def run(member: MemberId, reads: int, pause: int) -> tuple[float, float, float]:
        work = Work(reads_permille=reads, think_ms=pause)
        crowd = Crowd(scene, [(member - 1, member)], work, extent.seed)
        seen = measure(scene, crowd, 100 * MILLISECOND, duration)
        scene.run_for(100 * MILLISECOND)
        trips = quantile(seen.read_ms if reads else seen.write_ms, 0.5) / ROUND_TRIP_MS
        messages = (seen.messages - idle * seen.seconds) / seen.done
        return trips, messages, (seen.bytes - idle_bytes * seen.seconds) / seen.done

    write, messages_alone, size = run(1, 0, ALONE_MS)
    read, read_messages, _ = run(1, 1000, ALONE_MS)
    # What an early primary ships is many writes in one, if they come quickly: that is not what is counted.
    return Cost(
        subject=subject.name,
        members=members,
        messages=run(1, 0, 0 if subject.name in IN_A_ROW else 1)[1],
        messages_alone=messages_alone,
        bytes=size,
        idle=idle,
        write=write,
        write_elsewhere=run(2, 0, ALONE_MS)[0],
        read=read,
        read_elsewhere=run(2, 1000, ALONE_MS)[0],
        read_messages=read_messages,
    )


def _setting(members: int, seed: int, settings: Settings) -> Setting:
    geography = flat(members, ROUND_TRIP_MS, disk_ms=0.0)
    return Setting(geography=geography, members=range(members), seed=seed, settings=settings)


IN_A_ROW: Final = {"raft": 2, "multipaxos": 2, "abd": 4, "dynamo": 2}
"""By subject: messages of a write for each other member, if the next follows at once."""
ALONE: Final = {"raft": 4, "multipaxos": 4, "abd": 4, "dynamo": 2, "primary-backup": 2}
"""The same if none follows: then the commit index of a leader travels alone, and is answered."""
WRITE_TRIPS: Final = {"raft": (1, 2), "multipaxos": (1, 2), "abd": (2, 2), "dynamo": (1, 1), "primary-backup": (0, 1)}
"""Round trips of a write: at member 1, and at another."""
READ_TRIPS: Final = {"raft": (1, 2), "multipaxos": (1, 2), "abd": (2, 2), "dynamo": (1, 1), "primary-backup": (0, 1)}


def costs(extent: Extent) -> Section:
    """Every subject in every size; and both protocols with lease reads."""
    found = [cost(subject, members, extent) for members in extent.sizes for subject in SUBJECTS]
    leases = [cost(subject, 3, extent, Settings(lease_reads=True)) for subject in SHIPPED]
    return Section(
        name="costs",
        claims=[*judge(found), *_lease_claims(leases)],
        parts=[_table(found)],
        data={"costs": msgspec.to_builtins(found), "lease_reads": msgspec.to_builtins(leases)},
    )


def judge(found: list[Cost]) -> list[Claim]:
    """What theory says of these costs."""
    return [*_messages_claims(found), *_trip_claims(found), _alike(found)]


def _messages_claims(found: list[Cost]) -> list[Claim]:
    claims = []
    for name in ALONE:
        mine = [c for c in found if c.subject == name]
        words, cases = [], []
        if name in IN_A_ROW:
            words.append(f"{IN_A_ROW[name]}(N-1) in a row")
            cases += [(f"N={c.members}", c.messages, float(IN_A_ROW[name] * (c.members - 1))) for c in mine]
        words.append(f"{ALONE[name]}(N-1) alone")
        cases += [(f"N={c.members} alone", c.messages_alone, float(ALONE[name] * (c.members - 1))) for c in mine]
        claims.append(claim_each(f"messages-{name}", ", ".join(words), cases, 0.1, _MESSAGES_WHY[name]))
    return claims


_LED: Final = (
    "an entry to each other member and its answer; the next entry carries the commit index, or a message of its own, "
    "which is answered, too; heartbeats of an idle cluster are taken off"
)
_MESSAGES_WHY: Final = {
    "raft": _LED,
    "multipaxos": _LED,
    "abd": "two phases, each a question to all others and their answers",
    "dynamo": "one phase: every home is given the value, and answers",
    "primary-backup": "shipped to each backup, and its answer; after the acknowledgement",
}


def _trip_claims(found: list[Cost]) -> list[Claim]:
    claims = []
    for name, (here, elsewhere) in WRITE_TRIPS.items():
        mine = [c for c in found if c.subject == name]
        cases = [(f"N={c.members} near", c.write, float(here)) for c in mine]
        cases += [(f"N={c.members} elsewhere", c.write_elsewhere, float(elsewhere)) for c in mine]
        leads = "at the leader" if name in ("raft", "multipaxos", "primary-backup") else "at any member"
        words = f"{here} {leads}" + (f", {elsewhere} at another" if here != elsewhere else "")
        why = f"median latency of one client's writes over a round trip of {ROUND_TRIP_MS:g} ms; disks take nothing"
        claims.append(claim_each(f"write-round-trips-{name}", words, cases, 0.12, why, least=0.1))
    for name, (here, elsewhere) in READ_TRIPS.items():
        mine = [c for c in found if c.subject == name]
        cases = [(f"N={c.members} near", c.read, float(here)) for c in mine]
        cases += [(f"N={c.members} elsewhere", c.read_elsewhere, float(elsewhere)) for c in mine]
        words = f"{here} near" + (f", {elsewhere} at another member" if here != elsewhere else "")
        why = _READ_WHY.get(name, "a quorum confirms that the leader still leads (thesis, 6.4)")
        claims.append(claim_each(f"read-round-trips-{name}", words, cases, 0.12, why, least=0.1))
    return claims


_READ_WHY: Final = {
    "abd": "a majority is asked, and then given what is answered: without that, a later read could find less",
    "dynamo": "R members are asked; nothing is written back before the answer",
    "primary-backup": "the primary answers what it has: nobody confirms that it still is the primary",
}


def _alike(found: list[Cost]) -> Claim:
    pairs = []
    for members in sorted({c.members for c in found}):
        sizes = [c.bytes for c in found if c.members == members and c.subject in ("raft", "multipaxos")]
        if len(sizes) == 2:
            pairs.append((members, max(sizes) / min(sizes)))
    return Claim(
        id="bytes-alike",
        expected=f"the two protocols' bytes a commit differ by a factor of at most {ALIKE:g}",
        measured=", ".join(f"N={members} {ratio:.2f}" for members, ratio in pairs),
        agrees=bool(pairs) and all(ratio <= ALIKE for _, ratio in pairs),
        why="their messages carry the same entries; what differs is the bookkeeping around them",
    )


def _lease_claims(leases: list[Cost]) -> list[Claim]:
    cases = [(f"{c.subject} leader", c.read, 0.0) for c in leases]
    cases += [(f"{c.subject} elsewhere", c.read_elsewhere, 1.0) for c in leases]
    why = "with leases the leader answers without a round, and another member needs only the leader's index"
    return [claim_each("lease-read-round-trips", "0 at the leader, 1 at another", cases, 0.12, why, least=0.1)]


def _table(found: list[Cost]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (
            c.subject,
            c.members,
            round(c.messages, 2),
            IN_A_ROW[c.subject] * (c.members - 1) if c.subject in IN_A_ROW else None,
            round(c.messages_alone, 2),
            ALONE[c.subject] * (c.members - 1),
            round(c.bytes),
            round(c.read_messages, 2) + 0.0,
            round(c.write, 2),
            round(c.write_elsewhere, 2),
            round(c.read, 2),
            round(c.read_elsewhere, 2),
            round(c.idle, 1),
        )
        for c in found
    ]
    columns = (
        *(
            "",
            "nodes",
            "messages a write",
            "formula",
            "alone",
            "formula alone",
            "bytes, alone",
            "messages a read",
            "write trips",
        ),
        *("write elsewhere", "read trips", "read elsewhere", "idle/s"),
    )
    title = "A commit's cost: 16-byte values, one client, no processor or disk time, in the simulator (exact)"
    return Table(title=title, columns=columns, rows=tuple(rows))
