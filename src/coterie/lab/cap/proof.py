"""The scenario of the proof, run step by step: Gilbert and Lynch, "Brewer's Conjecture and the Feasibility of
Consistent, Available, Partition-Tolerant Web Services" (SIGACT News 33(2), 2002), Theorem 1.

The nodes are in two sets, G1 and G2, and every message between them is lost. The proof has three executions:

- alpha1: a write of v1 at G1 ends, and nothing else happens;
- alpha2: a read at G2 ends, and nothing was written; so it returns v0;
- alpha: first alpha1, then alpha2. G2 receives in alpha what it received in alpha2, nothing; so it answers as there: v0
  after v1 was written.

Here each is a run of three members, n1 and n2 in G1 and n3 in G2, from one seed; and it is checked that G2 cannot tell
alpha from alpha2: what its client is told, and what its member received.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import msgspec

from coterie.check import REGISTER, smallest
from coterie.check.drawing.text import draw_text
from coterie.core.config import MILLISECOND
from coterie.lab.stage.calls import Call, Outcome, history
from coterie.lab.stage.geography import flat
from coterie.lab.stage.stage import Stage
from coterie.lab.stage.visitors import Visitor

G1: Final = (1, 2)
G2: Final = 3
WRITE_AT: Final = 500 * MILLISECOND
"""After the cut."""
READ_AT: Final = 1500 * MILLISECOND
PATIENCE: Final = 6000 * MILLISECOND
READS: Final = ("stale", "linearizable")


class Execution(msgspec.Struct, frozen=True):
    """One of alpha1, alpha2 and alpha."""

    write: Call | None
    read: Call | None
    received: int
    """Messages that G2's member received between the cut and the end of the read."""
    history: str
    """The smallest part that is not linearizable, drawn; empty if all is."""


class Proof(msgspec.Struct, frozen=True):
    """The three executions with one way to read, and what follows."""

    protocol: str
    mode: str
    alone_written: Execution
    alone_read: Execution
    both: Execution

    @property
    def write_ended(self) -> bool:
        """In alpha1 and in alpha."""
        ends = (self.alone_written.write, self.both.write)
        return all(call is not None and call.outcome is Outcome.OK for call in ends)

    @property
    def read_ended(self) -> bool:
        """In alpha2 and in alpha."""
        ends = (self.alone_read.read, self.both.read)
        return all(call is not None and call.outcome is Outcome.OK for call in ends)

    @property
    def indistinguishable(self) -> bool:
        """G2 was told nothing, and its client was told the same, at the same time, in alpha2 and in alpha."""
        first, second = self.alone_read, self.both
        assert first.read is not None
        assert second.read is not None
        same = _told(first.read) == _told(second.read)
        return same and first.received == second.received == 0

    @property
    def violated(self) -> bool:
        """Alpha is not linearizable."""
        return bool(self.both.history)


def _told(call: Call) -> tuple[object, ...]:
    return call.outcome, call.value, call.revision, call.reason, call.start, call.end


def prove(protocol: str, seed: int, mode: str) -> Proof:
    """Run alpha1, alpha2 and alpha."""
    return Proof(
        protocol,
        mode,
        _execute(protocol, seed, mode, writes=True, reads=False),
        _execute(protocol, seed, mode, writes=False, reads=True),
        _execute(protocol, seed, mode, writes=True, reads=True),
    )


def _execute(protocol: str, seed: int, mode: str, *, writes: bool, reads: bool) -> Execution:
    stage = Stage(flat(3, 4.0, disk_ms=0.3, jitter=0.0), [0, 1, 2], seed=seed, protocol=protocol)
    stage.lead(1)
    writer, reader = stage.client(0), stage.client(2)
    writer.write(1, "x", "v0")
    stage.run_for(2 * stage.options.election_timeout)
    stage.split([0, 1], [2])
    cut = stage.now
    stage.meter.reset()
    calls: list[Call] = []
    if writes:
        stage.schedule.at(cut + WRITE_AT, "a write in G1", partial(_write, writer, calls))
    if reads:
        stage.schedule.at(cut + READ_AT, "a read in G2", partial(_read, reader, calls, mode))
    stage.run_for(READ_AT + PATIENCE + 500 * MILLISECOND)
    write, read = (next((call for call in calls if call.f == f), None) for f in ("write", "read"))
    received = sum(stage.meter.arrived_at[member, G2] for member in G1)
    wrong = smallest(history(stage.calls), REGISTER)
    return Execution(write, read, received, draw_text(wrong) if wrong is not None else "")


def _write(client: Visitor, calls: list[Call]) -> None:
    calls.append(client.write(1, "x", "v1", patience=PATIENCE))


def _read(client: Visitor, calls: list[Call], mode: str) -> None:
    calls.append(client.read(G2, "x", mode=mode, patience=PATIENCE))


def narrated(proof: Proof) -> str:
    """The steps, with what each showed."""
    one, two, both = proof.alone_written, proof.alone_read, proof.both
    assert one.write is not None
    assert two.read is not None
    assert both.read is not None
    lines = [
        f"G1 = n1 (leads), n2.   G2 = n3.   {proof.protocol}, reads: {proof.mode}.   x = v0 everywhere.",
        "The network parts: every message between G1 and G2 is lost.",
        "",
        f"alpha1  A client in G1 writes v1, and nothing else happens: {_ends(one.write)}.",
        f"alpha2  From the same start, nobody writes; a client in G2 reads x: {_ends(two.read)}.",
        f"alpha   alpha1, and when the write is over, alpha2: the read: {_ends(both.read)}.",
        f"        G2 received from G1: {two.received} messages in alpha2, {both.received} in alpha. "
        + ("It cannot tell them apart, and says the same." if proof.indistinguishable else "IT CAN TELL THEM APART."),
        "",
    ]
    if proof.violated:
        lines += ["alpha is not linearizable: G2 stayed available, and gave up C.", "", both.history.rstrip()]
    elif not proof.read_ended:
        lines += ["alpha is linearizable: G2 did not answer, so it gave up A. Had it answered, it had only v0 to say."]
    else:
        lines += ["NEITHER C NOR A WAS GIVEN UP: the theorem is refuted, or this run is not its scenario."]
    return "\n".join(lines)


def _ends(call: Call) -> str:
    if call.outcome is not Outcome.OK:
        return f"refused after {call.latency / MILLISECOND:.0f} ms: {call.reason!r}"
    what = "acknowledged" if call.f == "write" else f"answered {call.value}"
    return f"{what} after {call.latency / MILLISECOND:.1f} ms"
