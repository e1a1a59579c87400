"""Rows of the catalogue that are not planted, and why."""

from __future__ import annotations

from typing import Final

from coterie.sim.mutants import NotApplicable

NOT_APPLICABLE: Final = (
    NotApplicable(
        "R23",
        "epoch and vote are one record, and the records of a step are one frame, which is there whole or not at all: "
        "there is no second write that a crash could part from the first",
    ),
    NotApplicable(
        "L02",
        "there is no scan that could end too early: what a quorum holds is one index (quorum.agreed), and whether it "
        "may be committed one comparison",
    ),
    NotApplicable(
        "L07",
        "every later answer, a heartbeat's at the latest, says the match again, and a commit index never goes back: to "
        "take the match back costs a round trip and breaks nothing",
    ),
    NotApplicable(
        "L11",
        "a follower skips the entries that it has: a next index at or below the match sends some again, and no more",
    ),
    NotApplicable(
        "L17",
        "a leader withdraws nothing: a write that found no space is repeated with the same bytes, any other failure "
        "ends the process, and a restart reads what is there",
    ),
    NotApplicable(
        "S14",
        "nothing is allocated by a length on disk: a read takes no more than the file holds, the header's checksum "
        "covers the length, and tests/storage/test_frame.py offers lengths beyond the bound",
    ),
    NotApplicable(
        "M11",
        "the row refers to R18, which is planted: a member that was removed disturbs by the same rule's absence",
    ),
    NotApplicable(
        "E02",
        "whether a holder's writes are fenced is for the caller to say, with a transaction that compares its place in "
        "the queue: the world's callers do, and C08 plants comparisons that are not made",
    ),
    NotApplicable(
        "W10",
        "what watchers are told is read from the machine's data, and the machine is given what is committed: Q12 "
        "plants that it is given more; there is no other way from the log to a watcher",
    ),
    NotApplicable(
        "D02",
        "all replicas of a world share one process and its hash seed; tests/sim/test_determinism.py runs seeds in "
        "other processes with other hash seeds, and compares the hashes of whole runs",
    ),
    NotApplicable(
        "P18",
        "proposers canvass before they prepare, and are refused while a leader is heard or a better one asks: two "
        "never raise ballots against each other",
    ),
    NotApplicable(
        "P22",
        "replicas change by an entry in the log alone, never beside a ballot: there is no range to move",
    ),
)
