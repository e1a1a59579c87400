"""`coterie lab cap`: the theorem's table, filled by measurement, and the scenario of its proof."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from coterie.core.protocols import PROTOCOLS
from coterie.lab.cap import processes, simulated
from coterie.lab.cap.picture import table_drawn
from coterie.lab.cap.proof import READS, Proof, narrated, prove
from coterie.lab.cap.sides import LEASE, SIDES, Row, Side, with_both
from coterie.lab.experiment import Claim, Conditions, Figure, Part, Report, Table, Text


def cap(conditions: Conditions) -> Report:
    """Part networks, simulated and real, and tell what each way to read and write gave up."""
    tell = conditions.progress
    tell(0.05, "real processes are parted, and the simulated world beside them")
    with ThreadPoolExecutor(1, "simulated") as beside:
        imagined = beside.submit(_simulated, conditions.seed)
        real, reason = processes.rows()
        tell(0.8, "the simulated world")
        found, proofs = imagined.result()
    return report(conditions.seed, [*found, *real], proofs, reason)


def _simulated(seed: int) -> tuple[list[Row], list[Proof]]:
    found = [one for protocol in PROTOCOLS for one in simulated.rows(protocol, seed)]
    return found, [prove(protocol, seed, mode) for protocol in PROTOCOLS for mode in READS]


def report(seed: int, found: Sequence[Row], proofs: Sequence[Proof], reason: str) -> Report:
    """What all of it says. `reason`: why there were no namespaces."""
    claims = [*claims_of(found), *(claim_of_proof(proof) for proof in proofs)]
    kinds = sorted({one.where for one in found})
    note = f" There were no network namespaces ({reason}): relays between members were cut." if reason else ""
    lost = {"C": 0, "A": 0, "both": 0, "nothing": 0}
    for one in found:
        lost[one.gives_up] += 1
    parts: list[Part] = [
        *(_table(where, [one for one in found if one.where == where]) for where in kinds),
        Figure(
            title="What each mode gave, on each side",
            draw=lambda: table_drawn([one for one in found if one.where != simulated.WHERE]),
            note="Real processes, the leader on the side of the minority. ● every request answered, ◐ only at first, "
            "○ none; C: whether what clients saw is linearizable.",
        ),
        *(Text(title=_title(proof), body=narrated(proof)) for proof in proofs),
        *_texts(found),
    ]
    return Report(
        experiment="cap",
        seed=seed,
        claims=claims,
        summary=(
            f"{len(found)} rows, measured {' and '.join(kinds)}: {lost['C']} gave up consistency, {lost['A']} "
            f"availability, {lost['both']} both, {lost['nothing']} nothing.{note}"
        ),
        data={"rows": [_as_data(one) for one in found], "namespaces": not reason, "no_namespaces_because": reason},
        parts=parts,
    )


def claims_of(found: Sequence[Row]) -> Iterator[Claim]:
    """That no mode has both, and that each gives up what is said of it."""
    free = with_both(found)
    yield Claim(
        id="no-mode-is-consistent-and-available",
        expected="none",
        measured=", ".join(f"{one.protocol} {one.mode.name} ({one.where})" for one in free) or "none",
        agrees=not free and bool(found),
        why=f"{len(found)} rows; Gilbert and Lynch 2002, theorem 1",
    )
    for one in found:
        majority, minority = one.mode.available
        wanted = f"C {'kept' if one.mode.consistent else 'lost'}; A: majority {majority}, minority {minority}"
        wanted += " (or only at first, while the lease lasts)" if one.mode is LEASE else ""
        seen = f"C {'kept' if one.consistent else 'lost'}; A: " + ", ".join(
            f"{name} {side.available}" for name, side in zip(SIDES, one.sides, strict=True)
        )
        yield Claim(
            id="-".join((one.where.replace(", ", "-"), one.protocol, one.mode.name.replace(", ", "-"), one.leader))
            .replace(" ", "-"),
            expected=wanted,
            measured=seen,
            agrees=one.as_expected and one.operations + sum(side.asked for side in one.sides) > 0,
            why=", ".join(f"{side.answered} of {side.asked} answered" for side in one.sides)
            + f"; {one.operations} operations judged; the leader was on the side of the {one.leader}",
        )  # fmt: skip


def claim_of_proof(proof: Proof) -> Claim:
    """The proof's scenario: G2 cannot tell alpha from alpha2, and so either it answers wrongly or not at all."""
    stays = proof.mode == "stale"
    outcome = "alpha is not linearizable" if proof.violated else "alpha is linearizable"
    answers = "G2 answers" if proof.read_ended else "G2 does not answer"
    return Claim(
        id=f"proof-{proof.protocol}-{proof.mode}",
        expected="G2 cannot tell; "
        + ("G2 answers; alpha is not linearizable" if stays else "G2 does not answer; alpha is linearizable"),
        measured=f"{'G2 cannot tell' if proof.indistinguishable else 'G2 can tell'}; {answers}; {outcome}",
        agrees=proof.write_ended and proof.indistinguishable and proof.read_ended == proof.violated == stays,
        why=f"{proof.both.received} messages reached G2; its client was told the same in both, at the same time",
    )


def _title(proof: Proof) -> str:
    return f"The proof, step by step: {proof.protocol}, {proof.mode} reads"


def _table(where: str, rows: Sequence[Row]) -> Table:
    return Table(
        title=f"The theorem's table, measured: {where}",
        columns=("protocol", "leader in the", "mode", "consistent", "available: majority", "available: minority",
                 "gives up", "refused with"),
        rows=tuple(
            (one.protocol, one.leader, f"{one.mode.name} ({one.mode.words})", one.consistent,
             *(_words(side) for side in one.sides), one.gives_up,
             next((side.refusal for side in one.sides if side.refusal), None))
            for one in rows
        ),
    )  # fmt: skip


def _words(side: Side) -> str:
    counted = f"{side.available}: {side.answered} of {side.asked}"
    return f"{counted}, until {side.last_answer_ms:.0f} ms" if side.available == "at first" else counted


def _texts(found: Sequence[Row]) -> Iterator[Text]:
    for one in found:
        if one.violation:
            title = f"{one.where}, {one.protocol}, {one.mode.name}, leader in the {one.leader}: C is given up"
            yield Text(title=title, body=one.violation)


def _as_data(one: Row) -> dict[str, Any]:
    return {
        "where": one.where,
        "protocol": one.protocol,
        "leader": one.leader,
        "mode": one.mode.name,
        "consistent": one.consistent,
        "gives_up": one.gives_up,
        "sides": {
            name: {
                "available": side.available,
                "asked": side.asked,
                "answered": side.answered,
                "refusal": side.refusal,
            }
            for name, side in zip(SIDES, one.sides, strict=True)
        },
        "operations": one.operations,
        "violation": one.violation,
    }
