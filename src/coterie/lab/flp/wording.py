"""The adversary's walk in words: what each event is, and where else the group could have gone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from coterie.core.multipaxos.synod import Accept, Accepted, Nack, Prepare, Promise, Proposal
from coterie.core.types import Epoch, MemberId
from coterie.lab.flp.adversary import Walk
from coterie.lab.flp.system import Configuration, Letter, Number, System, Value
from coterie.lab.flp.valency import futures

BIVALENT: Final = ""
"""The valency of a configuration from which runs to both values are found."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a walk."""

    number: int
    """From 1."""
    turn: MemberId
    """Whose turn the stage is."""
    owed: bool
    """It is the message that the stage has to deliver; else it goes before, to keep the decision open."""
    words: str
    instead: dict[Value, tuple[str, ...]]
    """Other events that were possible, by the only value that can be decided after them."""
    trap: Value | None
    """What would have been the only value left, had the owed message not been delayed."""
    bivalent: bool
    """After it."""


def steps(walk: Walk) -> list[Step]:
    """All events of a walk, in order."""
    return list(_steps(walk))


def _steps(walk: Walk) -> Iterator[Step]:
    system, number = walk.system, 0
    for at, stage in enumerate(walk.stages):
        here = walk.before(at)
        for place, event in enumerate(stage.schedule):
            number += 1
            owed = place == len(stage.schedule) - 1
            after = system.apply(here, event)
            assert stage.event is not None
            yield Step(
                number=number,
                turn=stage.process,
                owed=owed,
                words=told(system, here, event),
                instead=_instead(system, here, event),
                trap=None if owed else only(system, system.apply(here, stage.event)),
                bivalent=only(system, after) is None,
            )
            here = after


def only(system: System, configuration: Configuration) -> Value | None:
    """The value that alone can be decided: a quorum has accepted it, or no run to the other was found. None: two runs
    to two values were."""
    values = futures(system, configuration)
    return min(values) if len(values) == 1 else None


def _instead(system: System, configuration: Configuration, taken: Number) -> dict[Value, tuple[str, ...]]:
    found: dict[Value, list[str]] = {}
    for event in system.events(configuration):
        if event != taken and (value := only(system, system.apply(configuration, event))) is not None:
            found.setdefault(value, []).append(told(system, configuration, event))
    return {value: tuple(words) for value, words in sorted(found.items())}


def told(system: System, configuration: Configuration, event: Number) -> str:
    """An event in words: who hears what of whom, and what comes of it."""
    letter = system.letter(event)
    after = system.apply(configuration, event)
    kept = len(configuration.letters) - 1
    sent = list(dict.fromkeys(_short(system.letter(x)) for x in after.letters[kept:]))
    who = f"n{letter.to}"
    said = f"{who} starts" if letter.sender == letter.to else f"{who} hears {_short(letter)} of n{letter.sender}"
    decided = system.decided(after) - system.decided(configuration)
    if decided:
        return f"{said}, and decides {min(decided)}"
    return f"{said}: {', '.join(sent)}" if sent else said


def _short(letter: Letter) -> str:
    match letter.body:
        case Prepare(ballot):
            return f"Prepare {_ballot(ballot)}"
        case Promise(ballot, accepted):
            return f"Promise {_ballot(ballot)}" + ("" if accepted is None else f" ({_proposal(accepted)})")
        case Accept(proposal):
            return f"Accept {_proposal(proposal)}"
        case Accepted(proposal):
            return f"Accepted {_proposal(proposal)}"
        case Nack(ballot, promised):
            return f"Refusal of {_ballot(ballot)} (promised {_ballot(promised)})"
    return "Start"


def _ballot(ballot: Epoch) -> str:
    return f"{ballot.round}.n{ballot.node}"


def _proposal(proposal: Proposal[Value]) -> str:
    return f"{_ballot(proposal.ballot)}={proposal.value}"


def schedule_text(walk: Walk, listed: list[Step]) -> str:
    """The whole schedule, a line an event."""
    first = walk.first_repeated
    lines = []
    for step in listed:
        if step.number == first:
            lines.append("---- from here again and again, in higher and higher ballots " + "-" * 30)
        lines.append(f"{step.number:>3}. {step.words}")
        if not step.owed:
            only_left = f" leave only {step.trap}" if step.trap else " not keep both values in reach"
            lines.append(f"       first: n{step.turn}'s oldest message is due, and would{only_left}")
        lines += [f"       not: {event}, which leaves only {v}" for v, words in step.instead.items() for event in words]
    return "\n".join(lines)
