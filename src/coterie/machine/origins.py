"""Which of the numbers that each member gave its clients' commands are passed.

A member numbers the commands that it takes: (member, boot, number). It may send a segment to the
leader more than once, and the network may hold one back; still a number is applied at most once,
and never after a later one of the same boot, or any of a later boot.
"""

from __future__ import annotations

from collections.abc import Iterable

from coterie.core.types import MemberId


class Origins:
    """Replicated state: one pair of integers for each member that there ever was."""

    def __init__(self, records: Iterable[tuple[MemberId, int, int]] = ()) -> None:
        """From what `records` gave; empty without."""
        self._passed: dict[MemberId, tuple[int, int]] = {member: (boot, last) for member, boot, last in records}

    def pass_numbers(self, origin: MemberId, boot: int, first: int, count: int) -> int:
        """Note that the origin's numbers up to first + count - 1 are passed; returns how many of them,
        counted from `first`, were passed before and must be skipped.

        What breaks without it: a forward that the network held back would run a command whose
        outcome its origin has told its client already.
        """
        known_boot, passed = self._passed.get(origin, (boot, first - 1))
        if boot < known_boot:
            return count
        if boot > known_boot:
            passed = first - 1
        last = first + count - 1
        if last <= passed:
            return count
        self._passed[origin] = (boot, last)
        return max(0, passed - first + 1)

    def records(self) -> list[tuple[MemberId, int, int]]:
        """(member, boot, highest number passed), in order of member."""
        return [(member, boot, last) for member, (boot, last) in sorted(self._passed.items())]
