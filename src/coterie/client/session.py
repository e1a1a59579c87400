"""The client's side of a session: sequence numbers, and the floor below which replies were seen.

Exactly-once effects (dissertation, 6.3): the session's state in the machine keeps the reply to each
sequence number from the floor on, so a command that is sent again gets the first run's reply. A
command therefore keeps its number for as long as any attempt may have taken effect.
"""

from __future__ import annotations

from collections import OrderedDict

from coterie.client.requests import Request


class Session:
    """One session at a time; a new one replaces it when the cluster says that it has expired."""

    __slots__ = ("_answered", "_next", "_window", "floor", "id", "opening", "waiting")

    def __init__(self, window: int) -> None:
        self._window = window
        self.id = 0
        """0: none open."""
        self.opening = 0
        """Id of the request that opens one, or 0."""
        self._next = 1
        self.floor = 1
        """Lowest sequence number not yet answered."""
        self._answered: set[int] = set()
        """Answered numbers above the floor: fewer than the window."""
        self.waiting: OrderedDict[int, Request] = OrderedDict()
        """Commands that wait for a session, or for room in its window."""

    def opened(self, session: int) -> None:
        """The cluster has opened this session."""
        self.id = session
        self.opening = 0
        self._next = self.floor = 1
        self._answered.clear()

    def expired(self, session: int) -> None:
        """The cluster does not know this session (any more)."""
        if session == self.id:
            self.id = 0

    @property
    def room(self) -> bool:
        """Another command may be sent."""
        return bool(self.id) and self._next - self.floor < self._window

    def floor_of(self, session: int) -> int:
        """The floor to tell with a command of this session. One that was replaced keeps the lowest: the
        present one's floor would make it forget replies that are still asked for."""
        return self.floor if session == self.id else 1

    def assign(self, request: Request) -> bool:
        """Give the command its number in the open session; False if none is open or the window is full."""
        if not self.id or self._next - self.floor >= self._window:
            return False
        request.session = self.id
        request.seq = self._next
        self._next += 1
        return True

    def answered(self, request: Request) -> bool:
        """The command has its outcome, or is given up: its reply is not needed any more.

        True if commands that wait may now go.
        """
        if request.session != self.id:
            return False
        seq = request.seq
        if seq != self.floor:
            self._answered.add(seq)
            return False
        seq += 1
        while seq in self._answered:
            self._answered.remove(seq)
            seq += 1
        self.floor = seq
        return bool(self.waiting)
