"""`coterie.sim.simulate`: a user's machine in the simulated world."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from coterie.core.errors import ConfigurationError
from coterie.core.protocols import DEFAULT_PROTOCOL, PROTOCOLS
from coterie.core.types import Nanos
from coterie.machine.interface import StateMachine
from coterie.sim.options import FAULTS, SECOND
from coterie.sim.users.bench import Invariant, MakeMachine
from coterie.sim.users.drawing import Describe
from coterie.sim.users.failure import SimulationFailed
from coterie.sim.users.judge import Check
from coterie.sim.users.operations import Listed, Made, Sent, Workload, listed
from coterie.sim.users.trial import Report, Trial

MAX_MEMBERS: Final = 7
MAX_SECONDS: Final = 3600
SECONDS: Final = 5.0
"""Simulated time with faults, where operations are made without end."""
PACE: Final = SECOND // 20
"""Simulated time for one operation, where they are listed and the caller does not say how long a run is."""
SHORTEST: Final = SECOND // 2
MAX_ROUND: Final = 8
"""Hypothesis draws at most so many lists of at most so many operations, as one list would nearly always be short."""


def simulate(
    machine: MakeMachine,
    workload: Workload,
    *,
    seeds: int | Iterable[int] = range(10),
    protocol: str = DEFAULT_PROTOCOL,
    nodes: int | None = None,
    seconds: float | None = None,
    faults: Sequence[str] | None = None,
    invariant: Invariant | None = None,
    check: Check | None = None,
    describe: Describe = repr,
) -> Report:
    """Run a machine replicated, in a simulated cluster with simulated misfortunes, once for each seed.

    The machine needs no model beside it: what clients are told must be what this machine, alone and never restored,
    answers to the commands of the log one by one, and real time must agree with the log's order (linearizability,
    Herlihy and Wing 1990). The laws are in `docs/simulation.md`.

    Args:
        machine: the `StateMachine` class, or a function without arguments that makes one. A class or function of a
            module is also tried in other processes, with other hash seeds and time zones.
        workload: what clients send. A function of a `random.Random` that returns one operation (bytes, `Command` or
            `Query`); a sequence of operations, each of which is sent once, in this order; or a Hypothesis strategy
            for one operation: then lists of them are drawn, one for each seed, and a failing one is shrunk.
        seeds: each is one run, the same on any machine. A number alone is that seed.
        protocol: `raft` or `multipaxos`.
        nodes: members, 1 to 7; the seed chooses unless it is said.
        seconds: simulated seconds with faults, then all heals: 5, or as long as the listed operations need.
        faults: the fault classes; the seed chooses a subset of all unless it is said. `()` is none.
        invariant: takes the machine, after every command, and raises `AssertionError` or returns False.
        check: takes all operations (`Operation`) of a run when it is over, and does likewise.
        describe: puts a command or question into words, for messages.

    Raises:
        SimulationFailed: an `AssertionError` with the seed, the step, the operations drawn, and what to do.
        ConfigurationError: an argument breaks its rule.
    """
    chosen = [seeds] if isinstance(seeds, int) else list(seeds)
    _validate(machine, chosen, protocol, nodes, seconds, faults)
    name = getattr(machine, "__qualname__", type(machine).__name__)
    trial = Trial(
        make=machine,
        invariant=invariant,
        check=check,
        describe=describe,
        nodes=nodes,
        faults=tuple(faults) if faults is not None else None,
        report=Report(machine=name, protocol=protocol),
    )

    def run_list(operations: Sequence[Sent], seed: int) -> None:
        duration = _nanos(seconds) if seconds is not None else max(SHORTEST, PACE * len(operations))
        trial.run(trial.options(seed, duration), Listed(operations, duration))

    if _is_strategy(workload):
        _explore(workload, _Search(trial, run_list), chosen)
    elif callable(workload):
        for seed in chosen:
            trial.run(trial.options(seed, _nanos(seconds if seconds is not None else SECONDS)), Made(workload))
    elif isinstance(workload, Sequence) and not isinstance(workload, (str, bytes)):
        operations = listed(workload)
        for seed in chosen:
            run_list(operations, seed)
    else:
        raise ConfigurationError(
            f"workload {workload!r:.100}: a function of a random.Random, a sequence of operations, or a Hypothesis "
            "strategy for one operation"
        )
    trial.elsewhere()
    return trial.report


def _nanos(seconds: float) -> Nanos:
    return round(seconds * 1000) * SECOND // 1000


def _validate(
    machine: object,
    seeds: Sequence[object],
    protocol: str,
    nodes: int | None,
    seconds: float | None,
    faults: Sequence[str] | None,
) -> None:
    """Raises `ConfigurationError`, naming the argument and its rule."""
    if isinstance(machine, StateMachine) or not callable(machine):
        raise ConfigurationError(
            f"machine {machine!r:.100}: give the class, or what makes a machine: each member has its own"
        )
    if not seeds or not all(isinstance(seed, int) for seed in seeds):
        raise ConfigurationError(f"seeds {seeds!r:.100}: one whole number or more")
    if protocol not in PROTOCOLS:
        raise ConfigurationError(f"protocol {protocol!r}: one of {', '.join(PROTOCOLS)}")
    if nodes is not None and not 1 <= nodes <= MAX_MEMBERS:
        raise ConfigurationError(f"nodes {nodes}: from 1 to {MAX_MEMBERS}")
    if seconds is not None and not 0.1 <= seconds <= MAX_SECONDS:
        raise ConfigurationError(f"seconds {seconds}: from 0.1 to {MAX_SECONDS}")
    unknown = [fault for fault in faults or () if fault not in FAULTS]
    if unknown:
        raise ConfigurationError(f"faults {unknown}: there are {', '.join(FAULTS)}")


def _is_strategy(workload: object) -> bool:
    """Whether it is one of Hypothesis's, which is not loaded if it is not."""
    strategies = sys.modules.get("hypothesis.strategies")
    return strategies is not None and isinstance(workload, strategies.SearchStrategy)


class _Search:
    """What Hypothesis tries, one list of operations after the other."""

    def __init__(self, trial: Trial, run: Callable[[Sequence[Sent], int], None]) -> None:
        self._trial = trial
        self._run = run
        self._alone = False
        """A list was found that fails without a cluster: so do the shorter ones that are looked for now."""
        self._failed: tuple[Sequence[Sent], int] = (), 0

    def try_out(self, operations: Sequence[Sent], seed: int) -> None:
        """Raises `SimulationFailed`."""
        try:
            try:
                self._trial.alone(operations, self._trial.options(seed, SHORTEST))
            except SimulationFailed:
                self._alone = True
                raise
            if not self._alone:
                self._run(operations, seed)
        except SimulationFailed:
            self._failed = operations, seed
            raise

    def tell(self) -> None:
        """Show the last that failed in a cluster, which tells more. Operations that overlap may come into the log in
        another order, and all be well: then once more, without faults, and so slowly that they do not overlap."""
        operations, seed = self._failed
        self._run(operations, seed)
        slow = self._trial.options(seed, SECOND * (len(operations) + 1))
        calm = msgspec.structs.replace(slow, faults=())
        self._trial.run(calm, Listed(operations, calm.duration))


def _explore(operation: Any, search: _Search, seeds: Sequence[int]) -> None:
    """Let Hypothesis draw lists of operations, as many as there are seeds, and shrink the first that fails. The same
    call draws the same lists."""
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st

    @settings(
        max_examples=len(seeds),
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(st.lists(st.lists(operation, max_size=MAX_ROUND), max_size=MAX_ROUND), st.sampled_from(seeds))
    def example(rounds: list[list[object]], seed: int) -> None:
        search.try_out(listed([each for operations in rounds for each in operations]), seed)

    try:
        example()
    except SimulationFailed:
        search.tell()
        raise
