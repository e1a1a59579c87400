"""What an embedded node can fail with, beyond configuration."""

from __future__ import annotations

from coterie.core.errors import CoterieError, Effect
from coterie.engine.protocol import Failure, FailureCode, Happened

_EFFECTS = {Happened.NO: Effect.NO, Happened.YES: Effect.YES, Happened.UNKNOWN: Effect.UNKNOWN}

_ADVICE = {
    FailureCode.INVALID: "change the request: sending it again gives the same answer",
    FailureCode.REJECTED: "change the command: the machine would refuse it again in this state",
    FailureCode.NO_LEADER: "try again when a quorum of the members runs and can be reached",
    FailureCode.OVERLOADED: "try again later, with fewer requests under way",
    FailureCode.NO_SPACE: "free space on the members' disks, then try again",
    FailureCode.TIMEOUT: "query the machine to learn whether it took effect",
    FailureCode.LEADER_LOST: "query the machine to learn whether it took effect",
    FailureCode.STOPPING: "ask another member",
    FailureCode.NOT_MEMBER: "ask another member",
}


class RequestFailed(CoterieError):
    """A command or a query had no success. `code` says why, `effect` whether a command took effect."""

    def __init__(self, failure: Failure) -> None:
        text = failure.message or failure.code.name.lower().replace("_", " ")
        super().__init__(text, effect=_EFFECTS[failure.happened], advice=_ADVICE.get(failure.code, ""))
        self.code = failure.code
        self.failure = failure


class NodeStopped(CoterieError):
    """The node is not running (any more). What was under way has the effect *unknown*."""


class StartFailed(CoterieError):
    """The node could not start, or should not have been started so; nothing of it runs."""


class DirectoryCopied(CoterieError):
    """This node's data directory is a copy of another, or another was made of it: it may have forgotten what its
    member promised, so the node has ended."""
