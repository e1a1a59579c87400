"""How much a cluster can take: a member handles one message at a time, and the busiest one is the limit.

Ailijiang, Charapko and Demirbas, "Dissecting the Performance of Strongly-Consistent Replication Protocols" (SIGMOD
2019). Section 3: of a single leader the service time of one operation is t = N t_in + k t_out: the request and N-1
answers come in; the paper's leader serialises its broadcast once (k = 2 with the reply), ours sends N-1 messages and
the reply (k = N). Capacity is 1/t. Section 6: load L(S) = (1 + c)(Q + L - 2)/L for quorums of Q, L leaders and
conflicts c; capacity is its inverse, so it says how capacities *relate*.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from coterie.core.config import MILLISECOND, ReplicaConfig
from coterie.core.types import MemberId, Nanos
from coterie.engine.config import EngineConfig
from coterie.lab.compare.load import Crowd, Seen, Work, measure, quantile
from coterie.lab.compare.section import Extent, Section, claim_each
from coterie.lab.compare.subjects import SHIPPED, SUBJECTS, Setting, Subject
from coterie.lab.experiment import Cell, Claim, Figure, Table
from coterie.lab.reports.plots import COLOURS, LINES, MARKERS, plot
from coterie.lab.stage.cost import Cost
from coterie.lab.stage.geography import flat

MESSAGE: Final[Nanos] = 250_000
"""Processor time of one message, in or out."""
CLIENTS: Final = 30
"""Enough that somebody always waits."""
ONE_BY_ONE: Final = EngineConfig(max_batch_commands=1, replica=ReplicaConfig(max_append_bytes=1))
"""A command an entry, an entry a message: what the formulae count."""


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """Of one subject in one size."""

    subject: str
    members: int
    rate: float
    """Writes a second, measured."""
    p50_ms: float
    counted: float
    """By the messages that were counted in the run, shared out as the protocol does it."""
    textbook: float
    """By the messages of the textbook: every entry answered by every other member."""
    paxi_load: float
    """L(S) of the paper's section 6; of two phases, twice that."""
    batched: float | None
    """Measured, with batches as they ship; of a protocol that has some."""


def paxi_load(quorum: int, leaders: int, conflicts: float = 0.0) -> float:
    """L(S) = (1 + c)(Q + L - 2) / L."""
    return (1 + conflicts) * (quorum + leaders - 2) / leaders


def textbook(name: str, members: int) -> float:
    """Messages that the busiest member handles for one operation of the cluster; clients of a store without a leader
    ask all members alike."""
    others = members - 1
    if name in ("raft", "multipaxos"):
        return 2 * members
    if name == "primary-backup":
        return 2.0  # What it ships, it ships for many writes at once.
    phases = 2 if name == "abd" else 1
    # Of N operations it coordinates one (the client's two messages, all questions and answers), and answers the others.
    return (2 + 2 * phases * others + 2 * phases * others) / members


def counted(name: str, members: int, messages: float) -> float:
    """The same, from the messages between members that a run had for one operation."""
    # Every message has two ends. A leader is one end of each; without one, the ends fall on all members alike.
    led = name in ("raft", "multipaxos", "primary-backup")
    return 2 + messages if led else (2 + 2 * messages) / members


def capacity(subject: Subject, members: int, extent: Extent) -> Capacity:
    """Saturate it."""
    seen = saturate(subject, members, extent, ONE_BY_ONE)
    batched = saturate(subject, members, extent, EngineConfig()) if subject.ships else None
    leaders = 1 if subject.led else members
    phases = 2 if subject.name == "abd" else 1
    return Capacity(
        subject=subject.name,
        members=members,
        rate=seen.rate,
        p50_ms=quantile(seen.write_ms, 0.5),
        counted=1e9 / (MESSAGE * counted(subject.name, members, seen.messages_each)),
        textbook=1e9 / (MESSAGE * textbook(subject.name, members)),
        paxi_load=phases * paxi_load(members // 2 + 1, leaders) if subject.name != "primary-backup" else 0.0,
        batched=batched.rate if batched is not None else None,
    )


def saturate(
    subject: Subject, members: int, extent: Extent, config: EngineConfig, clients: int = CLIENTS, value: int = 16
) -> Seen:
    """All clients write without a pause."""
    scene = subject.stage(
        Setting(
            geography=flat(members, 1.0, disk_ms=0.0),
            members=range(members),
            seed=extent.seed,
            cost=Cost(received=MESSAGE, sent=MESSAGE),
            config=config,
        )
    )
    seats: list[tuple[int, MemberId]] = [
        (0, 1) if subject.led else (number % members, number % members + 1) for number in range(clients)
    ]
    crowd = Crowd(scene, seats, Work(value_bytes=value), extent.seed)
    return measure(scene, crowd, extent.times(400, 800) * MILLISECOND, extent.times(1200, 3000) * MILLISECOND)


BATCHES: Final = ((1, 1), (1, 256), (8192, 1), (8192, 256))
"""Commands in an entry at most, and messages to a follower that are not answered yet."""


def batches(extent: Extent) -> list[tuple[str, int, int, Seen]]:
    """Batch and window of both protocols, three members."""
    found = []
    for subject in SHIPPED:
        for batch, window in BATCHES:
            replica = ReplicaConfig(max_append_bytes=1 if batch == 1 else 1 << 20, max_inflight_messages=window)
            config = EngineConfig(max_batch_commands=batch, replica=replica)
            found.append((subject.name, batch, window, saturate(subject, 3, extent, config)))
    return found


def capacities(extent: Extent) -> Section:
    """Every subject in every size; batch and window."""
    found = [capacity(subject, members, extent) for members in extent.sizes for subject in SUBJECTS]
    tried = batches(extent)
    rates = {(name, batch, window): seen.rate for name, batch, window, seen in tried}
    return Section(
        name="capacity",
        claims=[*judge(found), *judge_batches(rates)],
        parts=[_table(found), _batch_table(tried), _figure(found)],
        data={
            "message_us": MESSAGE / 1000,
            "capacity": msgspec.to_builtins(found),
            "batch_and_window": [
                {"protocol": name, "batch": batch, "window": window, "rate": seen.rate}
                for name, batch, window, seen in tried
            ],
        },
    )


def judge(found: list[Capacity]) -> list[Claim]:
    """What the formulae say."""
    cases = [(f"{c.subject} N={c.members}", c.rate, c.counted) for c in found]
    why = f"{CLIENTS} clients without a pause; {MESSAGE / 1000:g} µs of processor for each message, in or out"
    claims = [claim_each("capacity", "1 / (time of the busiest member's messages for a write)", cases, 0.12, why)]
    led = [c for c in found if c.subject in ("raft", "multipaxos")]
    worst = min(led, key=lambda c: c.rate / c.textbook)
    claims.append(
        Claim(
            id="capacity-merged-answers",
            expected="a leader's capacity is at least 1/(2N t): no entry has more than one answer of each follower",
            measured=f"at least {worst.rate / worst.textbook:.2f} of it ({worst.subject}, N={worst.members})",
            agrees=worst.rate >= 0.95 * worst.textbook,
            why="a follower answers once for all that its disk took together, so the textbook's count is a lower bound",
        )
    )
    return [*claims, _scale(found), _alike(led)]


def _scale(found: list[Capacity]) -> Claim:
    """Naor and Wool, and the paper: with a leader, more members are less capacity; with none, hardly."""
    small, large = min(c.members for c in found), max(c.members for c in found)
    rates = {(c.subject, c.members): c.rate for c in found}
    kept = {name: rates[name, large] / rates[name, small] for name in ("raft", "multipaxos", "abd", "dynamo")}
    led = max(kept["raft"], kept["multipaxos"])
    free = min(kept["abd"], kept["dynamo"])
    return Claim(
        id="capacity-of-more-nodes",
        expected=f"from {small} to {large} nodes a leader loses more of its capacity than a store without one",
        measured=", ".join(f"{name} keeps {share:.0%}" for name, share in kept.items()),
        agrees=led < free,
        why="the leader handles every message of every operation; without one, members share them",
    )


def _alike(led: list[Capacity]) -> Claim:
    ratios = []
    for members in sorted({c.members for c in led}):
        rates = [c.rate for c in led if c.members == members]
        ratios.append((members, max(rates) / min(rates)))
    return Claim(
        id="capacity-alike",
        expected="the two protocols' capacities differ by a factor of at most 1.15",
        measured=", ".join(f"N={members} {ratio:.2f}" for members, ratio in ratios),
        agrees=all(ratio <= 1.15 for _, ratio in ratios),
        why="in steady state both send an entry to each member and count answers",
    )


def judge_batches(rates: dict[tuple[str, int, int], float]) -> list[Claim]:
    """Batches share a message among many commands; a window of one waits for each round trip."""
    gains = {name: rates[name, 8192, 256] / rates[name, 1, 256] for name, _, _ in rates}
    slow = {name: rates[name, 1, 1] / rates[name, 1, 256] for name, _, _ in rates}
    return [
        Claim(
            id="batches-share-messages",
            expected="with batches at least 1.5 times the capacity",
            measured=", ".join(f"{name} {gain:.2f} times" for name, gain in gains.items()),
            agrees=all(gain >= 1.5 for gain in gains.values()),
            why="a command in a batch costs its leader the client's two messages, and a share of the others",
        ),
        Claim(
            id="a-window-of-one-waits",
            expected="without batches, one message at a time is at most 3/4 of the capacity",
            measured=", ".join(f"{name} {share:.2f}" for name, share in slow.items()),
            agrees=all(share <= 0.75 for share in slow.values()),
            why="one entry a round trip of 1 ms, and what its messages cost",
        ),
    ]


def _table(found: list[Capacity]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for c in found:
        load = round(c.paxi_load, 2) if c.paxi_load else None
        batched = round(c.batched) if c.batched is not None else None
        figures = (round(c.rate), round(c.counted), round(c.textbook), load, round(c.p50_ms, 1), batched)
        rows.append((c.subject, c.members, *figures))
    columns = ("", "nodes", "writes/s", "by messages counted", "by textbook", "Paxi L(S)", "p50 ms", "with batches")
    title = f"Capacity: {MESSAGE / 1000:g} µs a message, one command an entry, {CLIENTS} clients, in the simulator"
    return Table(title=title, columns=columns, rows=tuple(rows))


def _batch_table(tried: list[tuple[str, int, int, Seen]]) -> Table:
    rows = tuple(
        (name, batch, window, round(seen.rate), round(quantile(seen.write_ms, 0.5), 2), round(seen.messages_each, 2))
        for name, batch, window, seen in tried
    )
    columns = ("", "batch (commands)", "window (messages)", "writes/s", "p50 ms", "messages a write")
    return Table(title="Batch and window, three nodes", columns=columns, rows=rows)


def _figure(found: list[Capacity]) -> Figure:
    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        for place, subject in enumerate(SUBJECTS):
            mine = [c for c in found if c.subject == subject.name]
            colour, marker, line = COLOURS[place], MARKERS[place], LINES[place]
            sizes = [c.members for c in mine]
            axes.plot(sizes, [c.counted for c in mine], color=colour, linestyle=line, linewidth=1.2)
            # The protocols lie on each other: the first one's mark is wide and open, so that both are seen.
            style = {"markersize": 6.0} if place else {"markersize": 11.0, "markerfacecolor": "none"}
            axes.plot(
                sizes, [c.rate for c in mine], color=colour, marker=marker, linestyle="", label=subject.title, **style
            )
        axes.set_xlabel("nodes")
        axes.set_ylabel("writes a second")
        axes.set_xticks(sorted({c.members for c in found}))
        axes.set_ylim(bottom=0)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))

    note = "Marks: measured. Lines: 1 / (time of the busiest member's messages for a write)."
    return Figure(title="Capacity by number of nodes", draw=lambda: plot(draw), note=note)
