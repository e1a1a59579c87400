"""The consistency models: what each demands, what a program may rely on, and what it costs. What is said here of
implications, composition and availability, the experiment checks.

Notation as in Viotti and Vukolić (ACM Computing Surveys 49(1), 2016) and docs/check.md: *so*, the order of each
process; *rb*, returns before, in real time; *vis*, which writes an operation sees; *ar*, an order of the writes; *rf* ⊆
*vis*, from which write it reads. An operation reads, of each key, the last write in *ar* that it sees. *a + b* is
either of two, *a ; b* a step by *a* and then one by *b*. *d* is the longest time that a message takes, *u* by how much
that is uncertain.
"""

from __future__ import annotations

from typing import Final

import msgspec

from coterie.check.lattice import IMPLIES as REGISTERS_IMPLY
from coterie.check.lattice import LINEARIZABLE, SEQUENTIAL
from coterie.lab.models import transactions
from coterie.lab.models.availability import NONE, STICKY, TOTAL
from coterie.lab.models.forever import EVENTUAL

IMPLIES: Final[dict[str, tuple[str, ...]]] = {
    **REGISTERS_IMPLY,
    SEQUENTIAL: (*REGISTERS_IMPLY[SEQUENTIAL], EVENTUAL),
    transactions.STRICT: (*transactions.IMPLIES[transactions.STRICT], LINEARIZABLE),
    transactions.SERIALIZABLE: transactions.IMPLIES[transactions.SERIALIZABLE],
}
"""What holds with each: the edges of the lattice."""


class Card(msgspec.Struct, frozen=True):
    """One model."""

    name: str
    condition: str
    guarantee: str
    """What a program may rely on."""
    composable: bool
    """Whether a store of keys satisfies it if each key does (local: Herlihy and Wing 1990, 3.1)."""
    available: str
    """While the network is parted: `none`, `sticky`, `total`."""
    latency: str
    """What an operation must take at least."""
    source: str


CARDS: Final = (
    Card(transactions.STRICT,
        "one order of all transactions that is legal and contains rb",
        "transactions happen one after the other, each between its beginning and its end",
        False, NONE, "an updating transaction: ≥ d", "Papadimitriou 1979; Herlihy and Wing 1990, 3.3"),
    Card(transactions.SERIALIZABLE,
        "one order of all transactions that is legal",
        "transactions happen one after the other, in some order: what is right alone is right among others",
        False, NONE, "two that read what the other writes: ≥ d", "Papadimitriou 1979"),
    Card(transactions.SNAPSHOT,
        "a beginning and a commit for each: it sees what committed before its beginning; two that overlap write apart",
        "one state is read throughout, no update is lost; two may each overlook what the other writes (write skew)",
        False, NONE, "two that write alike: ≥ d", "Berenson et al. 1995; Adya 1999, 4.3; Cerone, Gotsman 2016"),
    Card(LINEARIZABLE,
        "one ar of all operations, legal, with rb ⊆ ar, and vis = ar for all",
        "each operation happens at one moment between call and answer: the store is like memory in one place",
        True, NONE, "read ≥ u/4, write ≥ u/2; together ≥ d", "Herlihy, Wing 1990; Attiya, Welch 1994"),
    Card(SEQUENTIAL,
        "one ar of all operations, legal, with so ⊆ ar",
        "all see one order, which keeps each one's own; a read may be old, and nobody can tell without talking aside",
        False, NONE, "read + write ≥ d", "Lamport 1979; Lipton, Sandberg 1988"),
    Card("causal",
        "for each process a legal order of all writes and its own operations that contains (so + rf)⁺, acyclic",
        "causes are seen before effects; who knows an answer knows the question",
        False, STICKY, "0", "Ahamad et al. 1995"),
    Card("pram",
        "for each process a legal order of all writes and its own operations that contains so",
        "everybody's writes are seen in the order in which he made them",
        False, STICKY, "0", "Lipton, Sandberg 1988"),
    Card("writes-follow-reads",
        "with D = rf ; so_RW: D ⊆ ar and D ; vis ⊆ vis",
        "an answer is never seen without its question",
        False, TOTAL, "0", "Terry et al. 1994"),
    Card("monotonic-reads",
        "rf ; so_RR ⊆ vis",
        "what was seen once does not vanish again",
        True, TOTAL, "0", "Terry et al. 1994"),
    Card("monotonic-writes",
        "so_WW ⊆ ar and so_WW ; vis ⊆ vis",
        "who sees a write sees all that its writer wrote before",
        False, TOTAL, "0", "Terry et al. 1994"),
    Card("read-your-writes",
        "so_WR ⊆ vis",
        "one sees what one wrote oneself",
        True, STICKY, "0", "Terry et al. 1994"),
    Card(EVENTUAL,
        "one ar for all; each write is seen by all but finitely many operations",
        "when nobody writes any more, all come to read the same; until then, anything that was written",
        True, TOTAL, "0", "Vogels 2009; Burckhardt 2014"),
)  # fmt: skip


def stronger(name: str) -> tuple[str, ...]:
    """The models directly above."""
    return tuple(above for above, below in IMPLIES.items() if name in below)
