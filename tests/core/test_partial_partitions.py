"""In each of the partial partitions of OmniPaxos (section 2) a group recovers within four election timeouts.

Measured from the cut until a command is committed that was proposed after it. Plain Raft, with pre-vote and
check-quorum, never recovers in the constrained election: that is what pulling is for (`core/raft/pull.py`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from tests.core.links import Group, plain_raft, unchanged

from coterie.core.config import MILLISECOND, ReplicaConfig
from coterie.core.messages import Message
from coterie.core.protocols import PROTOCOLS
from coterie.core.types import MemberId, Nanos

TIMEOUT: Nanos = 1000 * MILLISECOND
BOUND = 4 * TIMEOUT
EVERY: Nanos = 50 * MILLISECOND
SEEDS = range(4)
QUICK = (MILLISECOND, 10 * MILLISECOND)
"""One-way delays."""
SLOW: Nanos = 40 * MILLISECOND
STEADY = 3 * TIMEOUT
LACKING = 30
"""Entries that the one member that reaches a quorum lacks in the constrained election: several chunks."""
NEVER: Nanos = 1 << 62
Pairs = list[tuple[MemberId, MemberId]]


def star(center: MemberId, leaves: list[MemberId]) -> Pairs:
    return [(center, leaf) for leaf in leaves]


def chain(order: list[MemberId]) -> Pairs:
    return list(itertools.pairwise(order))


def quorum_loss(leader: MemberId, others: list[MemberId]) -> Pairs:
    """Only one member reaches a quorum. The leader reaches it, and nobody else."""
    return star(others[0], [leader, *others[1:]])


def constrained(leader: MemberId, others: list[MemberId]) -> Pairs:
    """The leader is cut off. Only one member reaches a quorum, and its log is the shortest."""
    return star(others[0], others[1:])


def chained_at_the_end(leader: MemberId, others: list[MemberId]) -> Pairs:
    return chain([leader, *others])


def chained_in_the_middle(leader: MemberId, others: list[MemberId]) -> Pairs:
    half = len(others) // 2
    return chain([*others[:half], leader, *others[half:]])


def bridge_led_from_a_side(leader: MemberId, others: list[MemberId]) -> Pairs:
    """Two sides of two, which only a fifth member joins."""
    return [(leader, others[0]), (others[1], others[2]), *star(others[3], [leader, *others[:3]])]


def bridge_led_from_the_middle(leader: MemberId, others: list[MemberId]) -> Pairs:
    return [(others[0], others[1]), (others[2], others[3]), *star(leader, others)]


Shape = Callable[[MemberId, list[MemberId]], Pairs]
SHAPES: list[tuple[Shape, int]] = [
    (quorum_loss, 5),
    (constrained, 3),
    (constrained, 4),
    (constrained, 5),
    (chained_at_the_end, 3),
    (chained_at_the_end, 5),
    (chained_in_the_middle, 3),
    (chained_in_the_middle, 5),
    (bridge_led_from_a_side, 5),
    (bridge_led_from_the_middle, 5),
]
CASES = [pytest.param(shape, size, id=f"{shape.__name__}-{size}") for shape, size in SHAPES]


def recovery(
    protocol: str,
    shape: Shape,
    size: int,
    seed: int,
    delay: Nanos,
    *,
    hears: Callable[[Message], Message] = unchanged,
    limit: Nanos = BOUND,
) -> Nanos:
    """Nanoseconds from the cut until a command is committed that was proposed after it; NEVER, if it takes longer than
    `limit`. Once recovered, it must stay so."""
    config = ReplicaConfig(election_timeout=TIMEOUT, max_append_bytes=64)
    group = Group(protocol, size, seed, delay=delay, hears=hears, config=config)
    assert group.run_until(lambda: len(group.leaders()) == 1 and len(group.committed) > 1, 10 * TIMEOUT)
    group.run(5 * delay + config.heartbeat_interval)
    (leader,) = group.leaders()
    others = [member for member in group.ids if member != leader]
    group.rng.shuffle(others)
    if shape is constrained:
        group.cut = {(leader, others[0]), (others[0], leader)}
        for _ in range(LACKING):
            group.propose()
        assert group.run_until(lambda: len(group.committed) >= LACKING + 2, TIMEOUT)
        group.run(2 * delay + 2 * MILLISECOND)
        assert group.replicas[others[0]].last_index + LACKING <= group.replicas[leader].last_index
    group.link_only(shape(leader, others))
    cut_at = group.now
    group.keep_proposing(EVERY)

    def recovered() -> bool:
        return bool(group.commit_times) and group.commit_times[-1][0] >= cut_at

    if not group.run_until(recovered, limit):
        return NEVER
    took = group.now - cut_at
    group.run(STEADY)
    times = [committed for _, committed in group.commit_times[-STEADY // EVERY :]]
    gaps = [later - earlier for earlier, later in itertools.pairwise([*times, group.now])]
    assert max(gaps) <= 2 * EVERY + 4 * delay, "it stopped again"
    return took


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "size"), CASES)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_partial_partition_is_over_within_four_election_timeouts(protocol: str, shape: Shape, size: int) -> None:
    for seed, delay in itertools.product(SEEDS, QUICK):
        took = recovery(protocol, shape, size, seed, delay)
        assert took <= BOUND, f"not recovered after {BOUND // TIMEOUT} election timeouts: seed {seed}, delay {delay} ns"


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "size"), CASES)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_slow_network_does_not_break_the_bound(protocol: str, shape: Shape, size: int) -> None:
    """Where a round trip takes a twelfth of an election timeout, members often call an election at once, and who yields
    to one that cannot win must not do so again and again."""
    for seed in SEEDS:
        assert recovery(protocol, shape, size, seed, SLOW) <= BOUND, f"seed {seed}"


@pytest.mark.parametrize("size", [4, 5])
def test_plain_raft_never_recovers_where_who_reaches_a_quorum_lacks_entries(size: int) -> None:
    for seed in SEEDS:
        assert recovery("raft", constrained, size, seed, MILLISECOND, hears=plain_raft, limit=30 * TIMEOUT) == NEVER
        assert recovery("raft", constrained, size, seed, MILLISECOND) <= BOUND


@pytest.mark.parametrize(("shape", "size"), [case for case in CASES if case.values[0] is not constrained])
def test_plain_raft_recovers_from_the_others(shape: Shape, size: int) -> None:
    assert recovery("raft", shape, size, 0, MILLISECOND, hears=plain_raft) <= BOUND
