"""What one call of `simulate` tries, run after run, and what it comes to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from coterie.core.types import Nanos
from coterie.machine.outcomes import MachineFailed
from coterie.sim.options import Options, choose
from coterie.sim.users import bench
from coterie.sim.users.bench import Bench, Given, Invariant, MakeMachine
from coterie.sim.users.diagnosis import breaks, fewest, in_batches, unstable, varies
from coterie.sim.users.drawing import Describe
from coterie.sim.users.elsewhere import MAX_STEPS, Elsewhere, apply_elsewhere
from coterie.sim.users.failure import Failure, SimulationFailed
from coterie.sim.users.judge import Check, UserJudge
from coterie.sim.users.operations import Command, Listed, Sent, Supply
from coterie.sim.users.work import UserSubject
from coterie.sim.verdict import Figures, Violation
from coterie.sim.world import World

DIVERGED: Final = (
    "alarm",
    "machine-frozen",
    "machine-query",
    "machine-raised",
    "machine-restore",
    "read-true",
    "same-applied",
    "same-state",
)
"""Laws that a machine breaks that is not deterministic, besides others."""


class Report(msgspec.Struct, kw_only=True):
    """What a simulation that found nothing did: an idle one proves nothing."""

    machine: str
    protocol: str
    runs: int = 0
    commands: int = 0
    """Applied, over all runs."""
    operations: int = 0
    """Of clients, that ended with a certain outcome."""
    unknown: int = 0
    """Operations whose outcome nobody was told."""
    elections: int = 0
    crashes: int = 0
    restores: int = 0
    """Times that a copy of the machine was restored from a snapshot."""
    elsewhere: str = ""
    """Whether other processes, with other hash seeds and time zones, came to the same; or why that was not checked."""


class Trial(msgspec.Struct, kw_only=True):
    """What one call of `simulate` tries."""

    make: MakeMachine
    invariant: Invariant | None
    check: Check | None
    describe: Describe
    nodes: int | None
    faults: tuple[str, ...] | None
    report: Report
    finished: list[tuple[Options, UserJudge]] = []
    """Runs whose logs are to be applied elsewhere."""
    kept: int = 0
    """Commands in those logs."""

    def options(self, seed: int, duration: Nanos) -> Options:
        """What this seed runs."""
        chosen = choose(seed, nodes=self.nodes, duration=duration, protocol=self.report.protocol)
        return chosen if self.faults is None else msgspec.structs.replace(chosen, faults=self.faults)

    def run(self, options: Options, supply: Supply) -> None:
        """One run. Raises `SimulationFailed`."""
        every = 1 if isinstance(supply, Listed) else 8  # of few commands each counts
        figures = Figures()
        try:
            judge = UserJudge(self.make, figures, self.invariant, self.check, every=every)
        except Violation as violation:
            raise self._failed(violation, None, options) from None
        world = World(options, UserSubject(self.make, judge, supply, figures))
        try:
            world.run()
        except (Violation, MachineFailed) as found:
            cause = found if isinstance(found, Violation) else found.__cause__
            broken = cause if isinstance(cause, Violation) else Violation("machine-reply", str(found))
            raise self._failed(*self._explained(broken, judge), options, judge, world) from None
        self._count(judge, figures, options)

    def alone(self, operations: Sequence[Sent], options: Options) -> None:
        """No cluster: the commands, one after the other, on a bench. Raises `SimulationFailed`."""
        commands = [sent.body for sent in operations if isinstance(sent, Command)]
        log = [Given(index, 0, 0, command) for index, command in enumerate(commands, 1)]
        try:
            Bench(self.make, self.invariant, every=1).run(log)
        except Violation as violation:
            raise self._failed(violation, None, options) from None

    def _explained(self, broken: Violation, judge: UserJudge) -> tuple[Violation, Given | None]:
        """The violation, or what is behind it if the machine is not a function of its commands; and the command at
        which it was seen, if it was at one."""
        steps, here = judge.bench.steps, judge.bench.broken_at if broken.check in bench.LAWS else None
        if broken.check not in DIVERGED:
            return broken, here
        if (found := varies(self.make, steps)) is not None:
            detail = f"the machine is not deterministic: {found.what}"
            return Violation("machine-deterministic", detail), steps[found.number].given
        elsewhere = apply_elsewhere(self.make, [steps])
        if isinstance(elsewhere, Elsewhere):
            return _otherwise(elsewhere), steps[elsewhere.number].given
        if (found := in_batches(self.make, steps, judge.starts)) is not None:
            detail = f"what a command does depends on its batch: {found.what}"
            return Violation("machine-batches", detail), steps[found.number].given
        return broken, here

    def _count(self, judge: UserJudge, figures: Figures, options: Options) -> None:
        report, commands = self.report, len(judge.bench.steps)
        report.runs += 1
        report.commands += commands
        report.operations += figures.completed
        report.unknown += figures.unknown
        report.elections += figures.elections
        report.crashes += figures.crashes
        report.restores += judge.bench.restores + figures.snapshots_installed
        if self.kept + commands <= MAX_STEPS:
            self.kept += commands
            self.finished.append((options, judge))

    def _failed(
        self,
        violation: Violation,
        at: Given | None,
        options: Options,
        judge: UserJudge | None = None,
        world: World | None = None,
    ) -> SimulationFailed:
        log = [step.given for step in judge.bench.steps] if judge is not None else []
        if at is not None and at not in log:
            log.append(at)  # the command that the machine did not get over
        smallest, alone = self._smallest(violation.check, log)
        failure = Failure(
            machine=self.report.machine,
            check=violation.check,
            detail=violation.detail,
            options=options,
            step=world.schedule.events if world is not None else 0,
            now=world.schedule.now if world is not None else 0,
            at=at,
            applied=len(log),
            smallest=smallest,
            alone=alone,
            operations=judge.operations if judge is not None else (),
        )
        return SimulationFailed(failure, self.describe)

    def _smallest(self, check: str, log: list[Given]) -> tuple[Sequence[Given], str]:
        """The fewest commands that break the law without a cluster, and how; none if the log alone does not."""
        if check not in bench.LAWS or not log:
            return (), ""
        fails = unstable(self.make) if check == "machine-deterministic" else breaks(self.make, self.invariant, check)
        smallest = fewest(log, fails)
        return smallest, fails(smallest) if smallest else ""

    def elsewhere(self) -> None:
        """Apply the logs in other processes. Raises `SimulationFailed`."""
        found = apply_elsewhere(self.make, [judge.bench.steps for _, judge in self.finished])
        if not isinstance(found, Elsewhere):
            self.report.elsewhere = found
            return
        options, judge = self.finished[found.log]
        raise self._failed(_otherwise(found), judge.bench.steps[found.number].given, options, judge)


def _otherwise(found: Elsewhere) -> Violation:
    detail = f"the machine is not deterministic; in another process ({found.environment}) {found.what}"
    return Violation("machine-deterministic", detail)
