"""What a run comes to: figures, or the name of the law that was broken."""

from __future__ import annotations

import msgspec

from coterie.core.errors import CoterieError
from coterie.core.types import Nanos


class Violation(CoterieError):
    """A law was broken in a simulated run.

    `check` is the law's name (`docs/simulation.md` lists them), `detail` the evidence. The world adds
    the seed, the options and the command that shows the same run again.
    """

    advice = "Replay the run with the command in the message; it happens again at the same event."

    def __init__(self, check: str, detail: str, *, replay: str = "") -> None:
        super().__init__(f"[{check}] {detail}" + (f"\n{replay}" if replay else ""))
        self.check = check
        self.detail = detail
        self.replay = replay


class Figures(msgspec.Struct, kw_only=True):
    """What happened in a run: an idle world proves nothing."""

    completed: int = 0
    """Operations of clients that ended with a certain outcome."""
    unknown: int = 0
    """Operations that the client gave up without knowing whether they took effect."""
    elections: int = 0
    """Epochs in which a leader spoke."""
    crashes: int = 0
    messages: int = 0
    events: int = 0
    early_commits: int = 0
    """Commits of a leader whose own disk did not hold the entry yet: right, if a quorum's disks did (10.2.1)."""
    entries: int = 0
    """Log entries known to be chosen."""
    snapshots_taken: int = 0
    """Snapshot files that were written."""
    snapshots_sent: int = 0
    """Snapshots of which the last byte left a leader."""
    snapshots_installed: int = 0
    """Machines whose state was replaced by a leader's snapshot."""
    compactions: int = 0
    """Records that let a log forget its beginning."""
    membership_changes: int = 0
    """Committed memberships, the first one aside."""
    quorum_changes: int = 0
    """Those of them by which quorums have other sizes."""
    repairs: int = 0
    """Logs that were damaged and begun anew, for the others to repair."""
    transfers: int = 0
    """Leaderships that were handed over as an operator wished."""
    ambushes: int = 0
    """Faults that struck at a moment that mattered: see `sim.ambush`."""
    replays: int = 0
    """States in which a process ended, and which a later one reached again from what it had left."""
    read_errors: int = 0
    """Processes that ended because their disk could not be read."""
    calls: int = 0
    """Calls of etcd's API that were answered."""
    watched: int = 0
    """Events that watchers were told of ..."""
    bookmarks: int = 0
    """... and how often they were told that they know all up to some revision ..."""
    resumed: int = 0
    """... and how often they had to go on elsewhere, or after a compaction."""
    leases_ended: int = 0
    """Leases that expired or were revoked."""
    held: int = 0
    """Locks and elections that were won."""


class Result(msgspec.Struct, kw_only=True):
    """One run's outcome. `check` is empty if no law was broken."""

    seed: int
    figures: Figures
    trace: str
    """Hash of everything that happened, in order."""
    check: str = ""
    detail: str = ""
    whims: dict[str, int] = {}
    """How often each of `sim.whims` did something."""
    ended_at: Nanos = 0
    """Simulated time at the run's end: healed and well, or at the event that broke the law."""
