"""Why a data directory cannot be used: the error that says so, and how the system's errors become it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum

from coterie.core.errors import CoterieError, Effect


class Refusal(Enum):
    """Why a data directory was refused."""

    IN_USE = "in use"
    OTHER_MEMBER = "other member"
    OTHER_PROTOCOL = "other protocol"
    UNKNOWN_FORMAT = "unknown format"
    DAMAGED = "damaged"
    READ_ONLY = "read-only"
    NO_SPACE = "no space"
    NOT_A_DIRECTORY = "not a directory"
    DISK_ERROR = "disk error"
    UNFINISHED = "unfinished"
    """A snapshot file was being restored into it."""
    FIXED = "fixed"
    """Something that is settled once for all was to be settled otherwise."""
    CLOSED = "closed"


class DirectoryRefused(CoterieError):
    """A data directory cannot be used, or not so. `reason` for programs; the message says what and why."""

    def __init__(self, reason: Refusal, message: str, *, effect: Effect = Effect.NO, advice: str) -> None:
        super().__init__(message, effect=effect, advice=advice)
        self.reason = reason


def damaged(path: str, what: str) -> DirectoryRefused:
    """The refusal of a directory whose identity cannot be believed."""
    return DirectoryRefused(
        Refusal.DAMAGED,
        f"the data directory {path} is damaged: {what}",
        advice="do not restore an old copy; remove the member from the cluster and add it with an empty directory",
    )


@contextmanager
def refusing(path: str) -> Iterator[None]:
    """Turn what the system says into a refusal of the directory."""
    try:
        yield
    except OSError as error:
        reason, what, advice = _explain(error.errno)
        detail = error.strerror or str(error)
        where = f" at {error.filename}" if isinstance(error.filename, str) else ""
        raise DirectoryRefused(
            reason, f"the data directory {path} {what} ({detail}{where})", effect=Effect.UNKNOWN, advice=advice
        ) from error


def _explain(number: int | None) -> tuple[Refusal, str, str]:
    if number in (errno.EROFS, errno.EACCES, errno.EPERM):
        return Refusal.READ_ONLY, "cannot be written", "check its owner, its permissions, and how its disk is mounted"
    if number in (errno.ENOSPC, errno.EDQUOT):
        return Refusal.NO_SPACE, "has no space left", "free some space, then start again: nothing is lost"
    if number in (errno.ENOTDIR, errno.EEXIST):
        return Refusal.NOT_A_DIRECTORY, "is not a directory", "correct the path in the configuration"
    return Refusal.DISK_ERROR, "cannot be used", "check the path, then the disk (the system's log may say more)"
