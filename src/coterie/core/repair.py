"""How a member whose log was damaged comes back: silent, until it holds again what it may have acknowledged.

Its disk lost entries that it had acknowledged, and did not lose its hard state (if it may have, its id is spent: see
`storage/salvage.py`). It begins with an empty log, and owes a `Repair`: everything up to its old end.

*Silent.* It neither campaigns nor votes, nor promises, nor answers a canvass, and what it tells a leader counts for
nothing: not as a copy, not in a round that confirms the leader. What breaks without: an entry is committed by it and
one other; it forgets the entry, elects a third that never had it, and the entry is gone.

*Whole again.* A leader of an epoch no lower than its own has given it everything up to the old end; or, of a *higher*
epoch, everything up to the first entry of that epoch, once that is committed. Why it is enough:

Let e be committed with this member's acknowledgement, in epoch c. It was given before the damage, so c is no higher
than the epoch T that it had reached then, and e no higher in the log than its old end E. Let L lead epoch t >= T.

- *t > T.* This member voted for nobody in t: until the damage it had not reached t, and since then it is silent. The
  quorum that elected L meets the one that committed e, and in another member. So the usual proof holds without this
  one: L has e when it is elected (Raft 5.4.3; "Paxos Made Simple" 2.2, P2c), before the first entry of its own epoch.
  What reaches up to there holds every such e, and so does what reaches up to E.
- *t = T.* It acknowledged in T to L only, nothing that L did not send, and nothing beyond E. What it acknowledged in
  earlier epochs, L had when it was elected, as ever. So what reaches up to E holds every such e. (The first entry of T
  says nothing here: L may commit later ones by what this member acknowledged before the damage.)

Where L's log ends before E, in T itself, it has to grow, or another has to be elected. In Multi-Paxos the same is said
of slots: up to there each is accepted in t, which is no lower than any ballot that was forgotten, or is known to be
chosen. A promise may speak of them again: it reports the highest.

*In between* it may take, apply and forget entries like any follower, and restart: the debt is part of the hard state.
That it is paid is written behind what was given back, so no crash leaves the one without the other.

Viewstamped Replication asks the same of a replica that recovers without its disk ("Viewstamped Replication Revisited",
4.3). That a leader may go on counting what was acknowledged before the damage follows from the above: all such copies
are accounted for as long as this member elects nobody without them. (Ours stops, as soon as it hears of it.)
"""

from __future__ import annotations

from typing import Final

from coterie.core.messages import (
    Accept,
    Append,
    Canvass,
    Message,
    Prepare,
    PreVote,
    Pull,
    RequestVote,
    TimeoutNow,
)
from coterie.core.types import Index, Repair

ASKS_FOR_A_WORD: Final = (PreVote, RequestVote, TimeoutNow, Pull, Canvass, Prepare)
"""Messages that a member which owes a repair leaves unanswered."""


def is_deaf_to(owed: Repair | None, message: Message) -> bool:
    """Whether a member that owes this must not answer."""
    return owed is not None and isinstance(message, ASKS_FOR_A_WORD)


def complete(owed: Repair, m: Append | Accept, matched: Index) -> bool:
    """Whether the log is whole again, now that it holds what the leader has up to `matched`.

    `m` is the leader's message, of an epoch no lower than `owed.epoch`. A `lag` that is not negative says that an entry
    of its own epoch is committed, and so at or before `m.commit`.
    """
    if matched >= owed.until:
        return True
    return m.epoch > owed.epoch and m.lag >= 0 and matched >= m.commit
