"""Partial partitions: members that are alive, and links between some of them that are not."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Final

import msgspec

from coterie.core.config import MIB, MILLISECOND, ReplicaConfig
from coterie.core.protocols import PROTOCOLS
from coterie.core.types import MemberId, Nanos
from coterie.lab.claims.ensemble import Ensemble, Timing, pairs_among
from coterie.lab.claims.plain import Dialect, plain
from coterie.lab.claims.seat import Maker, shipped
from coterie.lab.errors import LabError

TIMEOUT: Final = 1000 * MILLISECOND
NEVER: Final = -1.0
EVERY: Final = 50 * MILLISECOND
"""Between two commands that are proposed."""
LACKING: Final = 30
"""Entries that the one member that reaches a quorum lacks in the constrained election: several messages."""
Pairs = list[tuple[MemberId, MemberId]]


def _dialect(*, pre_vote: bool, check_quorum: bool) -> Maker:
    return plain(Dialect(spread=TIMEOUT, pre_vote=pre_vote, check_quorum=check_quorum))


VARIANTS: Final[dict[str, Maker]] = {
    "plain Raft": _dialect(pre_vote=False, check_quorum=False),
    "with pre-vote": _dialect(pre_vote=True, check_quorum=False),
    "with pre-vote and check-quorum": _dialect(pre_vote=True, check_quorum=True),
    **{f"Coterie, {protocol}": shipped(protocol) for protocol in PROTOCOLS},
}
"""What is tried in the partitions of Howard and Abraham."""


def group_of(make: Maker, size: int, seed: int, delay: Nanos, max_append_bytes: int = MIB) -> Ensemble:
    """Members that all reach each other."""
    config = ReplicaConfig(election_timeout=TIMEOUT, max_append_bytes=max_append_bytes)
    return Ensemble(make, size, seed=seed, timing=Timing(one_way=delay), config=config)


def keep_proposing(group: Ensemble) -> None:
    """A command for whoever thinks that it leads, again and again; it says when."""
    for leader in group.leaders():
        group.propose(leader, b"%d" % group.now)
    group.later(EVERY, lambda: keep_proposing(group))


# -- does it settle? ---------------------------------------------------------------------------------


class Unrest(msgspec.Struct, frozen=True):
    """What was seen in `timeouts` election timeouts, after the first ones."""

    timeouts: int
    reigns: int
    """Leaders, each counted once an epoch."""
    served: int
    """Stretches of a heartbeat interval at whose end somebody led and had committed something new."""
    stretches: int

    @property
    def settled(self) -> bool:
        """One leader all the time, and it commits."""
        return self.reigns == 1 and self.served == self.stretches


DISTURBED: Final = "4 and 5 hang on by one link each"
DEAF_LEADER: Final = "the leader hangs on by one link, and 5 is gone"
SITUATIONS: Final = (DISTURBED, DEAF_LEADER)


def unrest(variant: str, situation: str, seed: int, timeouts: int) -> Unrest:
    """Five members; 1, 2 and 3 reach each other. What follows is one of the situations of the article."""
    group = group_of(VARIANTS[variant], 5, seed, MILLISECOND)
    leader = 3 if situation == DISTURBED else 4
    if not group.lead(leader):
        raise LabError(f"{leader} was not elected though its timer ran out first")
    core = pairs_among((1, 2, 3))
    if situation == DISTURBED:
        group.link_only([*core, (2, 4), (3, 5)])
    else:
        group.crash(5)
        group.link_only([*core, (2, 4)])
    keep_proposing(group)
    group.run(20 * TIMEOUT)
    interval = group.config.heartbeat_interval
    reigns: set[tuple[MemberId, int]] = set()
    served, stretches = 0, timeouts * TIMEOUT // interval
    for _ in range(stretches):
        known = len(group.chosen)
        group.run(interval)
        now = {(member, group.seats[member].replica.epoch.round) for member in group.leaders()}
        reigns |= now
        served += bool(now) and len(group.chosen) > known
    return Unrest(timeouts, len(reigns), served, stretches)


# -- how soon does it recover? -----------------------------------------------------------------------


def _star(center: MemberId, leaves: list[MemberId]) -> Pairs:
    return [(center, leaf) for leaf in leaves]


def _quorum_loss(leader: MemberId, others: list[MemberId]) -> Pairs:
    return _star(others[0], [leader, *others[1:]])


def _constrained(leader: MemberId, others: list[MemberId]) -> Pairs:
    return _star(others[0], others[1:])


def _chained_end(leader: MemberId, others: list[MemberId]) -> Pairs:
    return list(itertools.pairwise([leader, *others]))


def _chained_middle(leader: MemberId, others: list[MemberId]) -> Pairs:
    half = len(others) // 2
    return list(itertools.pairwise([*others[:half], leader, *others[half:]]))


SHAPES: Final[dict[str, tuple[Callable[[MemberId, list[MemberId]], Pairs], int]]] = {
    "quorum loss, 5": (_quorum_loss, 5),
    "constrained, 3": (_constrained, 3),
    "constrained, 5": (_constrained, 5),
    "chained, 3": (_chained_end, 3),
    "chained, 5, led from its end": (_chained_end, 5),
    "chained, 5, led from its middle": (_chained_middle, 5),
}
"""OmniPaxos, section 2: which links are left, and of how many members."""
MAKERS: Final[dict[str, Maker]] = {
    "Raft without its pull": _dialect(pre_vote=True, check_quorum=True),
    **{protocol: shipped(protocol) for protocol in PROTOCOLS},
}


def recovery(maker: str, shape: str, seed: int, delay: Nanos, limit: int) -> float:
    """Election timeouts from the cut until a command is committed that was proposed after it; `NEVER`, if it takes
    longer than `limit` of them."""
    links, size = SHAPES[shape]
    group = group_of(MAKERS[maker], size, seed, delay, max_append_bytes=64)
    rng = random.Random(seed)
    leader = rng.choice(group.ids)
    if not group.lead(leader):
        raise LabError(f"seed {seed}: {leader} was not elected though its timer ran out first")
    group.run(5 * delay + group.config.heartbeat_interval + rng.randrange(TIMEOUT))
    others = [member for member in group.ids if member != leader]
    rng.shuffle(others)
    if links is _constrained:
        group.cut = {(leader, others[0]), (others[0], leader)}
        for _ in range(LACKING):
            group.propose(leader, b"before")
        if size > 3:
            group.run_until(lambda: len(group.payloads()) >= LACKING, TIMEOUT)
        group.run(2 * delay + 2 * MILLISECOND)
    group.link_only(links(leader, others))
    cut_at = group.now
    known = len(group.payloads())
    keep_proposing(group)

    def recovered() -> bool:
        return any(payload != b"before" and int(payload) >= cut_at for payload in group.payloads()[known:])

    if not group.run_until(_seldom(group, recovered), limit * TIMEOUT):
        return NEVER
    return (group.now - cut_at) / TIMEOUT


def _seldom(group: Ensemble, condition: Callable[[], bool]) -> Callable[[], bool]:
    """Looks only when something more was committed."""
    seen = -1

    def look() -> bool:
        nonlocal seen
        if len(group.chosen) == seen:
            return False
        seen = len(group.chosen)
        return condition()

    return look
