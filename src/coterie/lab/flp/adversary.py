"""Who chooses the order of messages so that nothing is ever decided, and is fair to all (Theorem 1 of the paper).

Processes stand in a queue. In each stage the first one is to receive the oldest message in the buffer for it: this is
the event e. Lemma 3 gives a schedule that ends with e in a bivalent configuration; it is run, and the process goes to
the end of the queue. So every process takes steps for ever and every message arrives, nobody crashes, and all
configurations between stages are bivalent.

*For ever* is shown by a configuration that comes again. Ballots grow; but the rules compare them, and take the round
after the highest that was heard of, and do nothing else with them. So two configurations that differ in ballots alone,
and in which any two ballots stand in the same order, adjacent rounds adjacent, have the same future but for the names
of ballots. The adversary, which does not look at ballots either, does the same again.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final

import msgspec

from coterie.core.types import NO_EPOCH, Epoch, MemberId
from coterie.lab.flp.lemmas import DETOUR_EVENTS, Valencies, detour
from coterie.lab.flp.system import Configuration, Number, System, Value
from coterie.lab.flp.valency import Schedule, futures

MAX_STAGES: Final = 400


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """One turn of one process."""

    process: MemberId
    event: Number | None
    """The oldest message for it; None: there was none, and its turn is over."""
    schedule: Schedule
    """What was run: its last event is `event`."""
    after: Configuration
    bivalent: bool


class Walk(msgspec.Struct, frozen=True, kw_only=True):
    """What the adversary did."""

    system: System
    stages: tuple[Stage, ...]
    repeats_from: int | None
    """The configuration before this stage is like the one after the last: from there it goes on for ever."""
    lost_at: int | None
    """The stage in which no bivalent configuration was found."""
    decided: frozenset[Value]
    """What was decided when the walk ended."""

    @property
    def cycle(self) -> tuple[Stage, ...]:
        """The stages that come again and again; empty if nothing was seen to repeat."""
        return () if self.repeats_from is None else self.stages[self.repeats_from :]

    def events(self, stages: int) -> int:
        """How many events there were in so many stages."""
        return sum(len(stage.schedule) for stage in self.stages[:stages])

    @property
    def first_repeated(self) -> int | None:
        """The number, from 1, of the first event that comes again; None: nothing was seen to repeat."""
        return None if self.repeats_from is None else self.events(self.repeats_from) + 1

    def before(self, stage: int) -> Configuration:
        """The configuration in which a stage begins."""
        return self.system.initial if stage == 0 else self.stages[stage - 1].after


def walk(system: System, *, longest: int = DETOUR_EVENTS, stages: int = MAX_STAGES) -> Walk:
    """Let the adversary play until a configuration comes again, it fails, or `stages` are over.

    `longest`: by so many events at most it may delay the message whose turn it is. An adversary that cannot keep the
    configuration bivalent lets the message arrive all the same, until something is decided.
    """
    valencies = Valencies(system)
    here, queue = system.initial, list(system.members)
    done: list[Stage] = []
    met: dict[Hashable, int] = {_like(system, here, queue): 0}
    lost: int | None = None
    repeats: int | None = None
    while len(done) < stages and not system.decided(here) and repeats is None:
        process = queue.pop(0)
        queue.append(process)
        event = next((x for x in here.letters if system.letter(x).to == process), None)
        schedule: Schedule = ()
        if event is not None:
            kept = detour(valencies, here, event, longest=longest) if lost is None else None
            lost = len(done) if lost is None and kept is None else lost
            schedule = kept or (event,)
            here = system.run(here, schedule)
        bivalent = len(futures(system, here)) > 1
        done.append(Stage(process=process, event=event, schedule=schedule, after=here, bivalent=bivalent))
        if lost is None:
            repeats = met.setdefault(_like(system, here, queue), len(done))
            repeats = None if repeats == len(done) else repeats
    return Walk(system=system, stages=tuple(done), repeats_from=repeats, lost_at=lost, decided=system.decided(here))


def _like(system: System, configuration: Configuration, queue: list[MemberId]) -> Hashable:
    """What all configurations have in common that differ in the names of ballots alone."""
    return shape(system, configuration), tuple(queue)


def shape(system: System, configuration: Configuration) -> Hashable:
    """A configuration whose rounds are renamed so that their order stays, and which of them are adjacent: a round that
    was free after another is free in the shape, too. Nothing is adjacent to 'no ballot' but round 1."""
    parts: tuple[list[Any], list[Any]] = (
        [system.process(number) for number in configuration.processes],
        [system.letter(number) for number in configuration.letters],
    )
    rounds: set[int] = set()
    for part in parts:
        _collect(part, rounds)
    names: dict[int, int] = {NO_EPOCH.round: NO_EPOCH.round}
    last = NO_EPOCH.round
    for number in sorted(rounds - {NO_EPOCH.round}):
        names[number] = names[last] + min(number - last, 2)
        last = number
    return _renamed(parts, names)


def _collect(value: Any, rounds: set[int]) -> None:
    if isinstance(value, Epoch):
        rounds.add(value.round)
    elif isinstance(value, (tuple, list)):
        for each in value:
            _collect(each, rounds)
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            _collect(getattr(value, name), rounds)


def _renamed(value: Any, names: dict[int, int]) -> Hashable:
    if isinstance(value, Epoch):
        return Epoch(names[value.round], value.node)
    if isinstance(value, (tuple, list)):
        return (type(value).__name__, *(_renamed(each, names) for each in value))
    if isinstance(value, msgspec.Struct):
        fields = (_renamed(getattr(value, name), names) for name in value.__struct_fields__)
        return (type(value).__name__, *fields)
    known: Hashable = value
    return known


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """The cycle run again and again by the schedule alone, nobody choosing."""

    times: int
    steps: int
    """Events of the whole run."""
    same: int
    """Cycles after which the configuration was like the one before."""
    undecided: int
    """Cycles after which nothing was decided."""
    steps_of: dict[MemberId, int]
    """Of each process, in one cycle."""
    oldest: int
    """Cycles that the message that waited longest had to wait."""
    highest: int
    """Round of the highest ballot at the end."""


def replay(walked: Walk, times: int) -> Replay:
    """Run a walk's cycle so many times, giving each process in its turn what the cycle gave it, by age in the buffer.

    Ages are what a cycle has in common with the next: the n-th oldest message of the buffer is the same message but for
    its ballot.
    """
    system = walked.system
    assert walked.repeats_from is not None, "there is no cycle"
    here = walked.before(walked.repeats_from)
    places: list[int] = []
    for stage in walked.cycle:
        for event in stage.schedule:
            places.append(here.letters.index(event))
            here = system.apply(here, event)
    like = shape(system, here)
    born = dict.fromkeys(range(len(here.letters)), 0)
    ages = list(born.values())
    steps_of = dict.fromkeys(system.members, 0)
    same = undecided = oldest = 0
    for turn in range(times):
        for place in places:
            event = here.letters[place]
            steps_of[system.letter(event).to] += not turn
            oldest = max(oldest, turn - ages.pop(place))
            here = system.apply(here, event)
            ages += [turn] * (len(here.letters) - len(ages))
        same += shape(system, here) == like
        undecided += not system.decided(here)
    return Replay(
        times=times,
        steps=times * len(places),
        same=same,
        undecided=undecided,
        steps_of=steps_of,
        oldest=max(oldest, times - min(ages, default=times)),
        highest=system.highest(here),
    )
