"""Quorum sizes as people write them, and what became of a change of them.

They are part of the membership, not of the settings: a change goes through a joint configuration, for quorums of the
old sizes need not meet those of the new ones. People find them among the settings all the same.
"""

from __future__ import annotations

from coterie.core import quorum
from coterie.core.errors import ConfigurationError
from coterie.core.types import Membership
from coterie.engine.admin_requests import ChangeQuorums, QuorumSizes

PHASE_1 = "phase_1_quorum"
"""How many voters elect."""
PHASE_2 = "phase_2_quorum"
"""How many voters commit."""
NAMES: tuple[str, ...] = (PHASE_1, PHASE_2)
MAJORITY = "majority"


def shown(name: str) -> str:
    """A setting's name as people are told it; they may write it so, too, or with underscores."""
    return name.replace("_", "-")


def size_of(name: str, value: str) -> int:
    """A quorum's size: a number of voters, or 0 for a majority. Raises `ConfigurationError`."""
    word = value.strip().lower()
    if word == MAJORITY:
        return 0
    if not (word.isascii() and word.isdigit() and len(word) < 6):
        raise ConfigurationError(f"{shown(name)} is {value!r}: it must be a number of voters, or {MAJORITY}")
    return int(word)


def size_word(size: int) -> str:
    """A quorum's size as people write it."""
    return str(size) if size else MAJORITY


def counted(size: int, voters: int) -> str:
    """The same, for people who want to know how many a majority is."""
    return size_word(size) if size else f"{MAJORITY} ({quorum.majority(voters)} of {voters})"


def sizes_of(membership: Membership) -> QuorumSizes:
    """The sizes by which a membership counts."""
    return QuorumSizes(len(membership.voters), membership.phase_1, membership.phase_2)


def hold(membership: Membership, request: ChangeQuorums) -> bool:
    """Whether what is asked for is so already."""
    return request.phase_1 in (None, membership.phase_1) and request.phase_2 in (None, membership.phase_2)


def changed(before: QuorumSizes, after: Membership, request: ChangeQuorums) -> QuorumSizes:
    """What holds after the change; the note says what became of the size that the request did not name."""
    now = sizes_of(after)
    note = ""
    if request.phase_1 is None:
        note = _note(PHASE_1, before.phase_1, now.phase_1, now.voters, f"{shown(PHASE_2)} {size_word(now.phase_2)}")
    elif request.phase_2 is None:
        note = _note(PHASE_2, before.phase_2, now.phase_2, now.voters, f"{shown(PHASE_1)} {size_word(now.phase_1)}")
    return QuorumSizes(now.voters, now.phase_1, now.phase_2, note)


def _note(name: str, before: int, now: int, voters: int, beside: str) -> str:
    if before != now:
        raised = f"{shown(name)} is raised from {counted(before, voters)} to {counted(now, voters)}"
        return f"{raised}: with {beside}, less would not do"
    return f"{shown(name)} stays {now}" if now else ""
