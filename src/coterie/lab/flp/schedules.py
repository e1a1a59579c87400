"""Who decides the order in which the messages of Ben-Or's processes arrive, and many runs of it.

*Waves.* All messages of a step arrive before those of the next are sent; each receiver hears them in an order of its
own, goes on at the (n - t)-th, and hears the others too late. The order is drawn (`fair`), or chosen by an adversary
that sees every message and every coin tossed so far (`strong`): it shows each process as many zeros as ones as it can.

*Free.* Any message that is under way may be the next, drawn each time; some processes crash, in the midst of sending.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import msgspec

from coterie.lab.flp.ben_or import Bit, Note, Process, Rules

MAX_ROUNDS: Final = 5_000
"""Of one run: it is given up then. By chance alone that is one run in 10^34 with 7 processes."""
Order: TypeAlias = Callable[[Rules, Sequence[Note], random.Random], Sequence[Note]]
"""What one receiver hears of a step's messages, in which order."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one run."""

    decided: tuple[Bit | None, ...]
    """By process; None: it did not decide, or crashed."""
    first: int
    """The round of the first decision; 0: there was none."""
    last: int
    """The round of the last one."""
    crashed: int
    wrong: str | None
    complete: bool
    """Every process that lives has decided."""


def fair(rules: Rules, notes: Sequence[Note], rng: random.Random) -> Sequence[Note]:
    """Any order, each as likely."""
    return rng.sample(notes, len(notes))


def strong(rules: Rules, notes: Sequence[Note], rng: random.Random) -> Sequence[Note]:
    """No more than n/2 of either value among the first n - t, if that can be."""
    most = rules.processes // 2
    first: list[Note] = []
    late: list[Note] = []
    shown = {0: 0, 1: 0}
    for note in notes:
        if note.value in shown and shown[note.value] == most:
            late.append(note)
        else:
            first.append(note)
            shown[note.value] = shown.get(note.value, 0) + 1
    return [*first, *late]


def in_waves(rules: Rules, inputs: Sequence[Bit], order: Order, rng: random.Random) -> Run:
    """One run in waves, until all have decided."""
    processes = [Process(rules, value, rng) for value in inputs]
    notes = [p.begin() for p in processes]
    while notes[0].round <= MAX_ROUNDS and any(p.decided is None for p in processes):
        following = []
        for process in processes:
            for note in order(rules, notes, rng):
                following += process.hear(note)
        notes = following
    return _judged(processes, inputs, set())


def freely(rules: Rules, inputs: Sequence[Bit], crashes: int, rng: random.Random) -> Run:
    """One run in which the next message is drawn, and so many processes may crash, each after some message that it
    sends (it may be over before)."""
    processes = [Process(rules, value, rng) for value in inputs]
    doomed = {p: rng.randrange(1, rules.processes * 6) for p in rng.sample(range(len(inputs)), crashes)}
    flying: list[tuple[int, Note]] = []
    sent = [0] * len(inputs)

    def send(sender: int, note: Note) -> None:
        for to in rng.sample(range(len(inputs)), len(inputs)):
            if sender not in doomed or sent[sender] < doomed[sender]:
                sent[sender] += 1
                flying.append((to, note))

    def down(process: int) -> bool:
        return process in doomed and sent[process] >= doomed[process]

    for number, process in enumerate(processes):
        send(number, process.begin())
    while flying and any(p.decided is None for n, p in enumerate(processes) if not down(n)):
        at = rng.randrange(len(flying))
        flying[at], flying[-1] = flying[-1], flying[at]
        to, note = flying.pop()
        if note.round > MAX_ROUNDS:
            break
        if not down(to):
            for says in processes[to].hear(note):
                send(to, says)
    return _judged(processes, inputs, {n for n in range(len(inputs)) if down(n)})


def _judged(processes: Sequence[Process], inputs: Sequence[Bit], crashed: set[int]) -> Run:
    decided = tuple(p.decided for p in processes)
    values = {v for v in decided if v is not None}
    wrong = None
    if len(values) > 1:
        wrong = f"agreement: {decided} from the inputs {tuple(inputs)}"
    elif not values <= set(inputs):
        wrong = f"validity: {decided} from the inputs {tuple(inputs)}"
    rounds = [p.decided_in for p in processes if p.decided is not None]
    return Run(
        decided=decided,
        first=min(rounds, default=0),
        last=max(rounds, default=0),
        crashed=len(crashed),
        wrong=wrong,
        complete=all(v is not None for n, v in enumerate(decided) if n not in crashed),
    )


def halves(processes: int) -> tuple[Bit, ...]:
    """Inputs as evenly split as can be."""
    return tuple(number % 2 for number in range(processes))
