"""Do elections carry entries? Raft's do not, Paxos's do ("Paxos vs Raft", PaPoC 2020): bytes, and time to the first
commit."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median_low
from typing import Any, Final

import msgspec

from coterie.core.config import MILLISECOND, ReplicaConfig
from coterie.core.messages import (
    Canvass,
    CanvassReply,
    Message,
    Prepare,
    PreVote,
    PreVoteReply,
    Promise,
    Pull,
    RequestVote,
    Suffix,
    VoteReply,
    encode,
)
from coterie.core.types import MemberId
from coterie.lab.claims.ensemble import SECOND, Ensemble, Timing
from coterie.lab.claims.plain import Dialect, plain
from coterie.lab.claims.rows import Found, Row, Task
from coterie.lab.claims.seat import Maker, shipped
from coterie.lab.errors import LabError
from coterie.lab.experiment import Claim, Conditions, Table

ELECTION: Final = (PreVote, PreVoteReply, RequestVote, VoteReply, Pull, Suffix, Canvass, CanvassReply, Prepare, Promise)
PAYLOAD: Final = 256
BYTES_PER_MS: Final = 12_500
"""100 Mbit/s."""
PAPER: Final = "Raft as in the paper"
CONFIG: Final = ReplicaConfig()
MAKERS: Final[dict[str, Maker]] = {
    PAPER: plain(Dialect(spread=CONFIG.election_timeout, check_quorum=True)),
    "raft": shipped("raft"),
    "multipaxos": shipped("multipaxos"),
}
FULL, BEHIND = "has all", "lacks them"


class Wire(Ensemble):
    """An ensemble whose links carry so many bytes a millisecond."""

    def later(self, delay: int, act: Callable[[], None]) -> None:
        """See `Ensemble.later`."""
        super().later(delay + self.extra, act)

    extra = 0

    def post(self, source: MemberId, to: MemberId, message: Message) -> None:
        """See `Around`."""
        self.extra = len(encode(message)) * MILLISECOND // BYTES_PER_MS
        super().post(source, to, message)
        self.extra = 0


class Takeover(msgspec.Struct, frozen=True):
    """What a takeover took."""

    bytes: int
    """Of messages that only elections have, until somebody led."""
    entries: int
    """In these."""
    won: bool
    """Whether the first to try led."""
    ms: float
    """From its attempt to the first commit of a command of the new leader."""


def takeover(maker: str, lacking: int, who: str, seed: int) -> Takeover:
    """Five members, one leads; `lacking` entries reach two others and are committed; it dies. The first to try, by its
    timer, is one of those two, or one that lacks them."""
    group = Wire(MAKERS[maker], 5, seed=seed, timing=Timing(jitter=MILLISECOND // 5), config=CONFIG)
    if not group.lead(1):
        raise LabError("1 was not elected though its timer ran out first")
    group.run(SECOND)
    group.cut = {(1, 4), (1, 5)}
    for number in range(lacking):
        group.propose(1, b"%d".ljust(PAYLOAD) % number)
    if not group.run_until(lambda: len(group.payloads()) == lacking, SECOND // 2):
        raise LabError(f"{lacking} entries were not committed in time")
    heard = [group.now]
    group.sent = lambda source, to, message: heard.append(group.now) if source == 1 else None
    group.run(SECOND // 10)
    group.crash(1)
    # Until nobody sticks to it any more; its timer is the first to run out then.
    group.run(heard[-1] + group.config.election_timeout + 2 * MILLISECOND - group.now)
    first = 2 if who == FULL else 4
    counted = [0, 0]

    def count(source: MemberId, to: MemberId, message: Message) -> None:
        if isinstance(message, ELECTION):
            counted[0] += len(encode(message))
            counted[1] += len(message.entries) if isinstance(message, Promise | Suffix) else 0

    group.sent = count
    began = group.now
    group.seats[first].hasten()
    if not group.run_until(lambda: bool(group.leaders()), 10 * SECOND):
        raise LabError(f"{maker}: nobody came to lead")
    bytes_, entries = counted
    (leader,) = group.leaders()
    group.propose(leader, b"after")
    if not group.run_until(lambda: b"after" in group.payloads()[-1:], 10 * SECOND):
        raise LabError(f"{maker}: the new leader committed nothing")
    return Takeover(bytes_, entries, leader == first, (group.now - began) / MILLISECOND)


def _planned(conditions: Conditions) -> list[tuple[str, int, str, int]]:
    lengths, seeds = ((0, 10, 1000), 3) if conditions.quick else ((0, 10, 100, 1000, 3000), 15)
    seeded = range(conditions.seed * 100, conditions.seed * 100 + seeds)
    return [(maker, n, who, seed) for maker in MAKERS for n in lengths for who in (FULL, BEHIND) for seed in seeded]


def tasks(conditions: Conditions) -> list[Task]:
    """See `Row`."""
    return [Task(takeover, arguments) for arguments in _planned(conditions)]


def _middle(found: list[Takeover]) -> Takeover:
    """Medians: now and then another member's timer runs out during the election."""
    return Takeover(
        median_low(t.bytes for t in found),
        median_low(t.entries for t in found),
        median_low(t.won for t in found),
        median_low(t.ms for t in found),
    )


def judge(conditions: Conditions, results: list[Any]) -> Found:
    """See `Row`."""
    gathered: dict[tuple[str, int, str], list[Takeover]] = {}
    for (maker, n, who, _), found in zip(_planned(conditions), results, strict=True):
        gathered.setdefault((maker, n, who), []).append(found)
    seen = {case: _middle(found) for case, found in gathered.items()}
    most = max(n for _, n, _ in seen)
    paper = [t for (maker, _, _), found in gathered.items() if maker == PAPER for t in found]
    behind, full = seen["multipaxos", most, BEHIND], seen["multipaxos", most, FULL]
    pulled, raft_full = seen["raft", most, BEHIND], seen["raft", most, FULL]
    quickest = seen[PAPER, most, FULL]
    claims = [
        Claim(
            id="raft-elections-carry-no-entries",
            expected="Raft's elections carry no entries, however many are lacking",
            measured=f"{sum(t.entries for t in paper)} entries in {len(paper)} elections",
            agrees=all(t.entries == 0 for t in paper),
            why=f"with {most} lacking the messages of an election are {quickest.bytes} bytes; who lacks entries is not "
            "elected, another is",
        ),
        Claim(
            id="paxos-elections-carry-entries",
            expected="Paxos's promises carry what the proposer lacks",
            measured=f"{behind.entries} entries, {behind.bytes} bytes, for {most} that it lacks",
            agrees=behind.won and behind.entries >= most and behind.bytes >= most * PAYLOAD,
            why="and the first to try comes to lead, whatever its log",
        ),
        Claim(
            id="paxos-elections-always-carry-entries",
            expected="the promise carries what was accepted, whoever asks",
            measured=f"{full.entries} entries, {full.bytes} bytes, to a proposer that has them",
            agrees=full.entries > 0,
            why="Coterie's Prepare says what the proposer holds, and only what it lacks is sent: "
            f"{behind.entries} entries to one that lacks {most}",
            explained=full.entries == 0 and behind.entries >= most,
        ),
        Claim(
            id="coterie-raft-elections-carry-no-entries",
            expected="Coterie's Raft: no entries either",
            measured=f"{raft_full.entries} entries if the first to try has all, {pulled.entries} if it lacks {most}",
            agrees=raft_full.entries == pulled.entries == 0,
            why="who reaches a quorum and is refused for its log alone pulls what it lacks (decision 11): that "
            "is its way out "
            f"of a constrained election; it {'then led' if pulled.won else 'did not lead'}",
            explained=raft_full.entries == 0 and pulled.entries > 0,
        ),
        Claim(
            id="time-to-first-commit",
            expected=f"with {most} entries lacking Raft's first commit comes sooner than that of a Paxos proposer that "
            "lacks them",
            measured=f"{quickest.ms:.1f} ms and {behind.ms:.1f} ms",
            agrees=quickest.ms < behind.ms,
            why=f"1 ms one way, 1 ms a durable write, 100 Mbit/s. But it needs a first candidate that has all: if it "
            f"lacks them, Raft as in the paper takes {seen[PAPER, most, BEHIND].ms:.0f} ms, for another must time out",
        ),
    ]
    rows = tuple((maker, n, who, t.bytes, t.entries, t.won, t.ms) for (maker, n, who), t in seen.items())
    columns = (
        "protocol",
        "entries",
        "first to try",
        "bytes of the election",
        "entries in it",
        "it led",
        "ms to a commit",
    )
    keys = ("protocol", "lacking", "first", "bytes", "entries", "won", "ms")
    table = Table(title="Elections: what they carry, and how long until the first commit", columns=columns, rows=rows)
    return Found(claims=claims, parts=[table], data={"paxos_vs_raft": [dict(zip(keys, r, strict=True)) for r in rows]})


ROW: Final = Row("paxos-vs-raft", "Howard and Mortier, Paxos vs Raft, PaPoC 2020", tasks, judge)
