"""Slow work that whoever drives the engine does outside its loop: writing snapshots, flushing the store.

The engine makes a job and hands it to `Ports.work`; the driver calls `perform`, in a thread of the job's
lane (the simulated world: some time later), and then `Engine.worked` in the loop. Jobs of one lane are
performed one at a time, in order; the lanes do not wait for each other, and the log waits for neither. A
job that raises has failed; what that means is the engine's to say.
"""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import Enum

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


class Lane(Enum):
    """Whom a job waits for."""

    STORE = "store"
    """Whatever writes the machine's store."""
    FILES = "files"
    """Whatever writes snapshot files."""


def at_once() -> None:
    """Gives way to nobody."""


class Job(ABC):
    """Work that touches nothing of the engine's while it is performed."""

    lane: Lane

    @abstractmethod
    def perform(self, give_way: Callable[[], None] = at_once) -> None:
        """Do it; called once. Raises `OSError` and `ValueError`. `give_way` is called after each piece of work that
        nobody waits for at once, and may take its time: who drives the engine lets others go first there."""


def lacks_space(problem: BaseException) -> bool:
    """Whether the work failed only for want of space: later it may succeed."""
    return isinstance(problem, OSError) and problem.errno in NO_SPACE
