"""What became of a command at the machine: a reply, a refusal, or nothing because it came twice."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, IntEnum
from typing import Final, TypeAlias

import msgspec

from coterie.core.errors import CoterieError, Effect
from coterie.machine.interface import Rejected


class Skipped(Enum):
    """The origin's number had been passed already: this copy of the command was not applied, and
    never will be. What an earlier copy did, its own result said."""

    SKIPPED = 0


SKIPPED: Final = Skipped.SKIPPED


class FailedCode(IntEnum):
    """Why the host, not the machine, refused a command. The numbers are those of the client protocol."""

    REJECTED = 2
    """The command itself is wrong: the message says which rule it breaks."""
    OVERLOADED = 4
    """Too many replies are kept and not acknowledged."""
    SESSION_EXPIRED = 7
    """The session is not, or no longer, known."""
    SESSIONS_FULL = 8
    """No room for another session; a living one is never dropped for it."""
    REPLY_FORGOTTEN = 12
    """The command is below the floor that the client acknowledged: its reply is gone."""


class Failed(msgspec.Struct, frozen=True):
    """The host did not run this copy of the command.

    `happened` says whether an earlier copy took effect: False no, True yes, None the host can't know
    (the client can: a command that it sent only once has not happened).
    """

    code: FailedCode
    message: str
    happened: bool | None


Result: TypeAlias = bytes | Rejected | Failed | Skipped


class Done(msgspec.Struct, frozen=True):
    """Results of one segment, or of a part of it, for the member and boot that it came from: number `first`,
    `first` + 1, ..."""

    first: int
    results: Sequence[Result]


class MachineFailed(CoterieError):
    """The user's machine broke its contract. The node must stop: another member's may not have."""

    effect = Effect.UNKNOWN
    advice = (
        "Correct the machine and start the node again: it replays its log. A machine answers a bad command "
        "with Rejected and is a function of its commands alone."
    )
