"""What theory says of the models, and Coterie's documents of its reads, beside what was found."""

from __future__ import annotations

from collections.abc import Iterator

from coterie.check.lattice import LINEARIZABLE, STRONGEST_FIRST, weaker_than
from coterie.lab.experiment import Claim
from coterie.lab.models import small, transactions, witnesses
from coterie.lab.models.atomic import Transacted
from coterie.lab.models.catalogue import CARDS
from coterie.lab.models.drift import SETTINGS, Leased
from coterie.lab.models.findings import Practice, Theory
from coterie.lab.models.modes import Measured

BAILIS = "Bailis et al. 2013, table 3"


def claims_of_theory(theory: Theory) -> Iterator[Claim]:
    """The lattice, by search."""
    yield from _lattice(theory)
    yield from _eventual(theory)
    yield from _transactions(theory)
    yield from _composition(theory)
    for card in CARDS:
        found = theory.available[card.name]
        if found.programs:
            yield Claim(
                id=f"available-{card.name}",
                expected=card.available,
                measured=found.kind,
                agrees=found.kind == card.available,
                why=f"{found.programs} programs over two sides that do not hear each other; {BAILIS}"
                + (f"; answered with {found.rule}" if found.rule else "; no answers save the smallest that is shown"),
            )


def _lattice(theory: Theory) -> Iterator[Claim]:
    found = theory.found
    pairs = len(STRONGEST_FIRST) * (len(STRONGEST_FIRST) - 1)
    implied = sum(len(weaker_than(model)) for model in STRONGEST_FIRST)
    breach = next(iter(found.breaches.items()), None)
    yield Claim(
        id="stronger-is-stronger",
        expected=f"no history breaks one of {implied} implications",
        measured=f"{len(found.breaches)} are broken",
        agrees=not found.breaches,
        why=f"all {found.judged} histories of up to {witnesses.EXHAUSTIVE_SIZE} operations, each model by itself"
        + (f"; {breach[0][0]} and not {breach[0][1]}:\n{small.told(breach[1])}" if breach else ""),
    )
    sizes = [len(history) for history in found.witnesses.values()]
    yield Claim(
        id="no-other-implications",
        expected=f"a history for each of the {pairs - implied} other pairs",
        measured=f"{len(found.witnesses)} found, of {min(sizes, default=0)} to {max(sizes, default=0)} operations",
        agrees=len(found.witnesses) == pairs - implied,
        why=f"the smallest that the one allows and the other forbids; {found.looked} histories of "
        f"{witnesses.MOST} operations were looked at for the last of them",
    )


def _eventual(theory: Theory) -> Iterator[Claim]:
    endings = theory.endings
    yield Claim(
        id="sequential-is-eventual",
        expected="no history is sequential and never agrees; one agrees and is not sequential",
        measured=("none" if endings.breach is None else small.told(*endings.breach))
        + ("; one" if endings.below is not None else "; none"),
        agrees=endings.breach is None and endings.below is not None,
        why=f"{endings.judged} histories in which reads go on for ever",
    )
    yield Claim(
        id="causal-is-not-eventual",
        expected="a history is causal, and its processes disagree for ever",
        measured="found" if endings.apart is not None else "not found",
        agrees=endings.apart is not None,
        why="causal memory promises nobody one order of writes; with one it is called causal convergence",
    )
    yield Claim(
        id="eventual-keeps-no-session",
        expected="for each of the four session guarantees a history that agrees in the end and breaks it",
        measured=", ".join(endings.loose) or "none",
        agrees=len(endings.loose) == 4,
        why="the smallest history that breaks each, and after it all read the same for ever",
    )


def _transactions(theory: Theory) -> Iterator[Claim]:
    isolation = theory.isolation
    yield Claim(
        id="transactions-lattice",
        expected="strict serializable → serializable → snapshot isolation, and neither back",
        measured=f"{len(isolation.breaches)} breaches, {len(isolation.witnesses)} histories that tell them apart",
        agrees=not isolation.breaches and len(isolation.witnesses) == 2,
        why=f"all {isolation.judged} histories of up to {transactions.MOST_OPERATIONS} operations in up to "
        f"{transactions.MOST_TRANSACTIONS} transactions",
    )
    yield Claim(
        id="strict-serializable-is-linearizable",
        expected="the same, where each transaction is one operation",
        measured="the same" if isolation.mismatch is None else transactions.told(isolation.mismatch),
        agrees=isolation.mismatch is None and isolation.single > 0,
        why=f"{isolation.single} histories; the checker against reading what was written last",
    )


def _composition(theory: Theory) -> Iterator[Claim]:
    counterexamples = {model: len(h) for model, h in theory.found.not_composable.items()}
    counterexamples |= {m: sum(map(len, h)) for m, h in theory.isolation.not_composable.items()}
    for card in CARDS:
        if card.name not in STRONGEST_FIRST and card.name not in (transactions.SERIALIZABLE, transactions.SNAPSHOT):
            continue  # Eventual is defined key by key; strict needs transactions that overlap.
        composable = card.name not in counterexamples
        yield Claim(
            id=f"composable-{card.name}",
            expected="yes" if card.composable else "no",
            measured="yes" if composable else "no",
            agrees=composable == card.composable,
            why="no history found of which each key satisfies it and the whole does not"
            if composable
            else f"{counterexamples[card.name]} operations: each key satisfies it, the whole does not",
        )


def claims_of_ways(practice: Practice) -> Iterator[Claim]:
    """What Coterie's reads promise."""
    for measured in practice.ways:
        yield claim_of(measured)
    for one in practice.transacted:
        yield claim_of_transactions(one)
    for protocol, leased in practice.leased:
        yield _clocks(protocol, leased)


def claim_of(measured: Measured) -> Claim:
    """One way to read."""
    way = measured.way
    wanted = [*way.holds, *(f"not {model}" for model in way.fails), "all agree in the end"]
    wrong = [model for model in way.holds if measured.verdicts.get(model) is not True]
    wrong += [model for model in way.fails if measured.verdicts.get(model) is not False]
    says = ", ".join(measured.strongest) or "none of the eight models"
    return Claim(
        id=f"{measured.protocol}-{way.name.replace(', ', '-').replace(' ', '-')}",
        expected=", ".join(wanted),
        measured=says + (", all agree in the end" if measured.eventual else ", no agreement in the end"),
        agrees=not wrong and measured.eventual and measured.operations > 0 and measured.leaders > 0,
        why=f"{measured.operations} operations in {measured.trials} trials, {measured.leaders} changes of leader"
        + (f"; not as expected: {', '.join(wrong)}" if wrong else ""),
    )


def claim_of_transactions(one: Transacted) -> Claim:
    """One way to read several keys at once."""
    wanted = transactions.STRICT if one.how.strict else f"{transactions.SERIALIZABLE}, not {transactions.STRICT}"
    return Claim(
        id=f"{one.protocol}-{one.how.name.replace(', ', '-').replace(' ', '-')}",
        expected=wanted,
        measured=one.strongest,
        agrees=one.strict is one.how.strict and one.serializable and one.transactions > 0 and one.leaders > 0,
        why=f"{one.transactions} transactions over two keys in {one.trials} trials, {one.leaders} changes of leader",
    )


def _clocks(protocol: str, leased: Leased) -> Claim:
    within = leased.drift_permille <= SETTINGS.clock_drift_permille
    return Claim(
        id=f"{protocol}-lease-reads-{'within' if within else 'beyond'}-the-bound",
        expected=LINEARIZABLE if within else "a stale read",
        measured=f"{LINEARIZABLE if leased.linearizable else 'not linearizable'}: {leased.stale} stale reads",
        agrees=leased.linearizable and not leased.stale if within else not leased.linearizable and leased.stale > 0,
        why=f"clocks {leased.drift_permille} thousandths apart, {SETTINGS.clock_drift_permille} stated; the leader, "
        f"cut off, answered {leased.alone} reads by its lease",
    )
