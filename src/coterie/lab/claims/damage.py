"""Damaged entries (protocol-aware recovery, FAST 2018): one entry after the other, on one minority after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any, Final

import msgspec

from coterie.core.config import MILLISECOND
from coterie.core.protocols import PROTOCOLS
from coterie.core.types import MemberId
from coterie.lab.claims.rows import Found, Row, Task
from coterie.lab.errors import LabError
from coterie.lab.experiment import Claim, Conditions, Table
from coterie.lab.stage.calls import Outcome
from coterie.lab.stage.geography import flat
from coterie.lab.stage.stage import Stage
from coterie.sim.disk import SimulatedFiles
from coterie.sim.hardware import LOG, Hardware
from coterie.sim.verdict import Violation
from coterie.storage.frame import SECTOR, FrameHeader, decode_header
from coterie.storage.segment import segment_name, segment_number

WRITES: Final = 6
PATIENCE: Final = 60_000 * MILLISECOND


class Damage(msgspec.Struct, frozen=True):
    """What became of one damage."""

    repaired: int
    """Members that count again."""
    spent: int
    """Members whose promises may be lost with what was damaged: they refuse to start, and are to be replaced."""
    whole: int
    """Members that had nothing there to be damaged."""
    lost: int
    """Writes that were acknowledged and are gone, or wrong."""
    violation: str = ""
    """A law that was broken."""


def frames(disk: SimulatedFiles) -> list[tuple[str, int, int]]:
    """Every frame of the log that a power loss leaves: file, first byte, bytes."""
    found = []
    names = (path.rpartition("/")[2] for path in disk.durable_files().paths() if path.startswith(f"{LOG}/"))
    for number in sorted(n for name in names if (n := segment_number(name)) is not None):
        path, offset = f"{LOG}/{segment_name(number)}", 0
        data = disk.image(path)
        while isinstance(header := decode_header(data[offset : offset + SECTOR], number, offset), FrameHeader):
            found.append((path, offset, header.span))
            offset += header.span
    return found


def spoil(position: int, hit: list[bool]) -> Callable[[Hardware], None]:
    """One bit in the middle of the frame in this position turns. Tells in `hit` whether there is such a frame."""

    def act(hardware: Hardware) -> None:
        there = frames(hardware.disk)
        hit.append(position < len(there))
        if hit[-1]:
            path, offset, span = there[position]
            data = hardware.disk.image(path)[offset : offset + span].rstrip(b"\0")
            hardware.disk.flip_bit(path, (offset + len(data) // 2) * 8)

    return act


def damage(protocol: str, size: int, minority: Sequence[MemberId], position: int, seed: int) -> Damage:
    """A small log is written; then one frame of it rots on every member of a minority, and all of these start again."""
    stage = Stage(flat(size, 2.0), range(size), seed=seed, protocol=protocol)
    try:
        stage.lead(1)
        client = stage.client(0)
        for number in range(WRITES):
            call = stage.finish(client.write(1, f"k{number}", f"v{number}"))
            if call.outcome is not Outcome.OK:
                raise LabError(f"a write was not acknowledged: {call.reason}")
        stage.run_for(500 * MILLISECOND)
        hits: list[bool] = []
        for member in minority:
            stage.nodes[member].decay(spoil(position, hits))
        stage.wait(lambda: all(_is_over(stage, m) for m in minority), "members are repaired, or spent", PATIENCE)
        stage.wait_for_leader()
        spent = sum(stage.nodes[member].lost for member in minority)
        lost = sum(_read(stage, f"k{number}") != f"v{number}" for number in range(WRITES))
        whole = sum(not hit for hit in hits)
        return Damage(len(minority) - spent - whole, spent, whole, lost)
    except Violation as violation:
        return Damage(0, 0, 0, 0, f"{violation}")


def _is_over(stage: Stage, member: MemberId) -> bool:
    node = stage.nodes[member]
    return node.lost or (node.up and not node.ailing)


def _read(stage: Stage, key: str) -> str | None:
    call = stage.finish(stage.client(0).read(stage.leader(), key))
    return call.value if call.outcome is Outcome.OK else None


def _minorities(size: int) -> list[tuple[MemberId, ...]]:
    members = range(1, size + 1)
    return [chosen for count in range(1, (size + 1) // 2) for chosen in combinations(members, count)]


def _planned(conditions: Conditions) -> list[tuple[str, int, tuple[MemberId, ...], int, int]]:
    sizes = (3,) if conditions.quick else (3, 5)
    positions = range(WRITES + 8)
    return [
        (protocol, size, minority, position, conditions.seed)
        for protocol in PROTOCOLS
        for size in sizes
        for minority in _minorities(size)
        for position in positions
    ]


def tasks(conditions: Conditions) -> list[Task]:
    """See `Row`."""
    return [Task(damage, arguments) for arguments in _planned(conditions)]


def judge(conditions: Conditions, results: list[Any]) -> Found:
    """See `Row`."""
    seen: dict[tuple[str, int], list[Damage]] = {}
    for (protocol, size, _, _, _), found in zip(_planned(conditions), results, strict=True):
        seen.setdefault((protocol, size), []).append(found)
    runs: list[Damage] = list(results)
    lost, broken = sum(d.lost for d in runs), [d.violation for d in runs if d.violation]
    damaged = sum(d.repaired + d.spent for d in runs)
    spent = sum(d.spent for d in runs)
    claims = [
        Claim(
            id="damage-on-a-minority-loses-nothing",
            expected="any entry corrupt on any minority: nothing committed is lost",
            measured=f"{lost} of {len(runs) * WRITES} acknowledged writes lost, {len(broken)} laws broken, in "
            f"{len(runs)} runs",
            agrees=lost == 0 and not broken and damaged > 0,
            why=broken[0]
            if broken
            else f"every position of a log of {WRITES} writes, every minority, both protocols; {damaged} damaged logs",
        ),
        Claim(
            id="damage-is-repaired",
            expected="and the others repair it, by themselves",
            measured=f"{damaged - spent} of {damaged} damaged logs repaired",
            agrees=spent == 0 and damaged > 0,
            why=f"{spent} refused to start, for what was damaged may have been a promise (docs/repair.md): such a "
            "member "
            "is removed and added anew"
            if spent
            else "until then they neither vote nor count",
            explained=damaged > 0 and lost == 0,
        ),
    ]
    rows = tuple(
        (
            protocol,
            size,
            len(found),
            sum(d.repaired for d in found),
            sum(d.spent for d in found),
            sum(d.lost for d in found),
        )
        for (protocol, size), found in seen.items()
    )
    columns = ("protocol", "members", "runs", "logs repaired", "members spent", "writes lost")
    keys = ("protocol", "members", "runs", "repaired", "spent", "lost")
    table = Table(title="One entry rots, on every minority", columns=columns, rows=rows)
    return Found(claims=claims, parts=[table], data={"damage": [dict(zip(keys, row, strict=True)) for row in rows]})


ROW: Final = Row(
    "damage", "Alagappan et al., Protocol-Aware Recovery for Consensus-Based Storage, FAST 2018", tasks, judge
)
