"""The P of PACELC: a cut, and what each side can still do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from coterie.check import REGISTER, linearizable
from coterie.core.config import MILLISECOND
from coterie.lab.pacelc.modes import Mode, set_up, timeout_ms
from coterie.lab.stage.calls import Call, Outcome, history
from coterie.lab.stage.geography import Geography
from coterie.lab.stage.scene import Scene

AT_LAST: Final = 600_000 * MILLISECOND
"""A call has ended by then, however long its client is patient."""
SETTLED_TIMEOUTS: Final = 6
"""Election timeouts after the cut: whoever can elect has elected."""


class Cut(msgspec.Struct, frozen=True, kw_only=True):
    """Shares of calls that were answered, on the side of few and of many."""

    mode: Mode
    few_read: bool
    few_write: bool
    many_read: bool
    many_write: bool
    consistent: bool | None
    """Whether the history of both sides, and of the time before, is linearizable."""
    refusal: str
    """What the side of few was told, where it was refused."""

    @property
    def available(self) -> bool:
        """Reads are answered on both sides."""
        return self.few_read and self.many_read


def cut(mode: Mode, geography: Geography, members: Sequence[int], leader: int, seed: int) -> Cut:
    """Cut the leader's site, with as many others as still are few, from the rest; let it settle; read and write."""
    scene = set_up(mode, geography, members, leader, seed)
    sites = [scene.ground.members[member] for member in sorted(scene.ground.members)]
    few = _few(sites)
    many = sorted(set(range(len(geography.sites))) - set(few))
    left, right = scene.client(few[0]), scene.client(many[0])
    scene.finish(left.write(mode.asked(scene, few[0], write=True), "x", "before"), AT_LAST)
    scene.run_for(1000 * MILLISECOND)
    scene.split(few, many)
    timeout = timeout_ms(geography, members) * MILLISECOND
    scene.run_for(SETTLED_TIMEOUTS * timeout)
    home, away = _member_on(scene, few), _member_on(scene, many)
    many_write = scene.finish(right.write(away, "x", "after", patience=4 * timeout), AT_LAST)
    many_read = scene.finish(right.read(away, "x", mode=mode.read_mode, patience=4 * timeout), AT_LAST)
    left.seen = 0
    few_read = scene.finish(left.read(home, "x", mode=mode.read_mode, patience=4 * timeout), AT_LAST)
    few_write = scene.finish(left.write(home, "x", "alone", patience=4 * timeout), AT_LAST)
    judged = linearizable(history(scene.calls), REGISTER)
    return Cut(
        mode=mode,
        few_read=_ok(few_read),
        few_write=_ok(few_write),
        many_read=_ok(many_read),
        many_write=_ok(many_write),
        consistent=judged.holds,
        refusal=few_read.reason or few_write.reason,
    )


def _few(sites: Sequence[int]) -> list[int]:
    """The first member's site, and others as long as fewer than half of the members stand in them."""
    chosen = [sites[0]]
    for site in sites[1:]:
        if site not in chosen and 2 * sum(s in (*chosen, site) for s in sites) < len(sites):
            chosen.append(site)
    return chosen


def _member_on(scene: Scene, side: Sequence[int]) -> int:
    return min(member for member, site in scene.ground.members.items() if site in side)


def _ok(call: Call) -> bool:
    return call.outcome is Outcome.OK
