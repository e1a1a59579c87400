"""After a failed fsync (ATC 2020): the page is called clean, so trying again proves nothing; and what Coterie does."""

from __future__ import annotations

import random
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
from coterie.sim.disk import DiskErrors, SimulatedFiles
from coterie.sim.node import Node

RECORD: Final = bytes(range(1, 256)) * 8


class Retry(msgspec.Struct, frozen=True):
    """One file that was synced again after a sync that failed."""

    again: bool
    """Whether the second sync said that all is well."""
    read_back: bool
    """Whether the file, read before the power failed, showed what was written."""
    there: bool
    """Whether it was there after the power had failed."""


def retry(seed: int, written_again: bool) -> Retry:
    """Write, sync, sync again; then the power fails. `written_again`: the bytes are given to the file once more between
    the two, as the only thing that would help."""
    rng = random.Random(seed)
    disk = SimulatedFiles()
    disk.make_directory("d")
    file = disk.open("d/log", create=True)
    disk.sync_all()
    disk.errors.failing_syncs = 1
    file.write_at(0, RECORD)
    again = False
    try:
        file.sync()
    except OSError:
        if written_again:
            file.write_at(0, bytes(len(RECORD)))
            file.write_at(0, RECORD)
        file.sync()
        again = True
    read_back = file.read_at(0, len(RECORD)) == RECORD
    disk.crash(rng, power=True)
    after = disk.open("d/log")
    return Retry(again, read_back, after.read_at(0, len(RECORD)) == RECORD)


class Syncs(msgspec.Struct, frozen=True):
    """What a member did whose sync failed."""

    after: int
    """Syncs that the same process asked for after the failure."""
    ended: bool
    acknowledged: int
    lost: int
    """Of these, writes that nobody knows any more."""


class Watched(DiskErrors):
    """Errors of a member's disk; counts the syncs that the same process asks for after one has failed."""

    def __init__(self, node: Node) -> None:
        super().__init__(failing_syncs=1)
        self.node = node
        self.failed_in: int | None = None
        """The process's number, among those of the member."""
        self.after = 0

    def sync_fails(self, path: str) -> bool:
        """See `DiskErrors`."""
        self.after += self.failed_in == self.node.life
        fails = super().sync_fails(path)
        if fails:
            self.failed_in = self.node.life
        return fails


def fail(protocol: str, member: MemberId, seed: int) -> Syncs:
    """Three members; a client writes all the time; one sync of a member (1 leads) fails, and the pages are gone."""
    stage = Stage(flat(3, 2.0), range(3), seed=seed, protocol=protocol)
    stage.lead(1)
    client = stage.client(0)
    node = stage.nodes[member]
    watched = Watched(node)
    for number in range(60):
        if number == 10:
            node.hardware.disk.errors = watched
        asked = stage.leader() or 1
        stage.finish(client.write(asked, f"k{number}", f"v{number}", patience=2000 * MILLISECOND))
        stage.run_for(20 * MILLISECOND)
    if watched.failed_in is None:
        raise LabError("no sync failed")
    stage.wait(lambda: all(n.up for n in stage.nodes.values()), "all are up again")
    stage.wait_for_leader()
    done = [call for call in stage.calls if call.f == "write" and call.outcome is Outcome.OK]
    lost = 0
    for call in done:
        read = stage.finish(stage.client(0).read(stage.leader(), call.key))
        lost += read.outcome is not Outcome.OK or read.value != call.value
    return Syncs(watched.after, node.life > watched.failed_in, len(done), lost)


def _retries(conditions: Conditions) -> list[tuple[int, bool]]:
    count = 50 if conditions.quick else 500
    return [(conditions.seed * 1000 + seed, again) for again in (False, True) for seed in range(count)]


def _failures(conditions: Conditions) -> list[tuple[str, MemberId, int]]:
    seeds = 1 if conditions.quick else 10
    return [(p, m, conditions.seed * 100 + seed) for p in PROTOCOLS for m in (1, 2) for seed in range(seeds)]


def retries(arguments: list[tuple[int, bool]]) -> list[Retry]:
    """Many of them."""
    return [retry(*each) for each in arguments]


def tasks(conditions: Conditions) -> list[Task]:
    """See `Row`."""
    return [Task(retries, (_retries(conditions),)), *(Task(fail, a) for a in _failures(conditions))]


def judge(conditions: Conditions, results: list[Any]) -> Found:
    """See `Row`."""
    tried: list[tuple[tuple[int, bool], Retry]] = list(zip(_retries(conditions), results[0], strict=True))
    failed: list[Syncs] = results[1:]
    plain = [r for (_, again), r in tried if not again]
    written = [r for (_, again), r in tried if again]
    kept, said = sum(r.there for r in plain), sum(r.again for r in plain)
    claims = [
        Claim(
            id="a-retried-fsync-proves-nothing",
            expected="after a failed fsync the page is marked clean: the next one succeeds, and the data are not there",
            measured=f"the second sync succeeded in {said} of {len(plain)} runs; {kept} kept the data over a "
            "power loss",
            agrees=said == len(plain) and kept == 0 and all(r.there for r in written),
            why=f"on the simulated disk, which is made to do what ATC'20 found of ext4, XFS and btrfs: "
            f"{sum(r.read_back for r in plain)} of these read well before the power failed. Where the bytes were "
            "written "
            f"anew before the second sync {sum(r.there for r in written)} of {len(written)} were there. No "
            "kernel's page "
            "cache was tried here",
        ),
        Claim(
            id="a-failed-fsync-ends-the-process",
            expected="so it must not be tried again: the process ends, and recovers from its disk and its peers",
            measured=f"ended in {sum(s.ended for s in failed)} of {len(failed)} runs, "
            f"{sum(s.after for s in failed)} further syncs by it; {sum(s.lost for s in failed)} of "
            f"{sum(s.acknowledged for s in failed)} acknowledged writes lost",
            agrees=all(s.ended and s.after == 0 and s.lost == 0 and s.acknowledged > 0 for s in failed),
            why="the leader's sync, or a follower's, fails under load; in both protocols",
        ),
    ]
    rows = tuple(
        (p, m == 1, s.ended, s.after, s.acknowledged, s.lost)
        for (p, m, _), s in zip(_failures(conditions), failed, strict=True)
    )
    columns = ("protocol", "at the leader", "process ended", "syncs after it", "writes acknowledged", "lost")
    keys = ("protocol", "leader", "ended", "syncs_after", "acknowledged", "lost")
    table = Table(title="A sync fails, under load", columns=columns, rows=rows)
    return Found(claims=claims, parts=[table], data={"fsync": [dict(zip(keys, row, strict=True)) for row in rows]})


ROW: Final = Row("fsync", "Rebello et al., Can Applications Recover from fsync Failures?, ATC 2020", tasks, judge)
