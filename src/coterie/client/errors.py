"""What a request can fail with. Each error says whether the operation took effect, and what to do.

`effect` is `Effect.YES`, `Effect.NO` or `Effect.UNKNOWN`. A read has no effect, so for it it is NO.
"""

from __future__ import annotations

from coterie.core.errors import CoterieError, Effect
from coterie.engine.protocol import Failure, FailureCode


class RequestError(CoterieError):
    """Base of everything that a client's request can fail with."""


class Unavailable(RequestError):
    """No member could serve the request: none reachable, none knows a leader, or all are stopping."""

    advice = "see `coterie status`; try again when a quorum of the members runs and can be reached"


class TimedOut(RequestError):
    """The request's time ran out while an answer was awaited."""

    effect = Effect.UNKNOWN
    advice = "read the key to learn whether it took effect, or use a longer timeout"


class ConnectionLost(RequestError):
    """The member, or the leader, was lost after the request had been sent, and sending again is not safe."""

    effect = Effect.UNKNOWN
    advice = "read the key to learn whether it took effect; commands in a session are sent again by themselves"


class Overloaded(RequestError):
    """The cluster, or this client, has too much under way."""

    advice = "try again later, with fewer requests in flight"


class NoSpace(RequestError):
    """A disk or a quota is full."""

    advice = "free space on the members' disks (or compact and delete keys), then try again"


class CommandRejected(RequestError):
    """The state machine said no; the message is its reason. It changed nothing."""

    advice = "the command itself must change: sending it again gives the same answer"


class InvalidRequest(RequestError):
    """Not a valid request: the message says which field and which limit."""

    advice = "the request itself must change: sending it again gives the same answer"


class SessionExpired(RequestError):
    """The session ended while the command's first attempt was without answer; it was not run anew."""

    effect = Effect.UNKNOWN
    advice = "read the key to learn whether it took effect; the next command opens a new session"


class SessionsFull(RequestError):
    """The cluster holds as many sessions as it may."""

    advice = "close clients that are not needed, wait for their sessions to expire, or use session=False"


class ReplyForgotten(RequestError):
    """The command took effect, and its reply is no longer kept."""

    effect = Effect.YES
    advice = "it happened exactly once: read the key if the reply matters"


class NotNow(RequestError):
    """The change must wait: another one or a transfer is under way, a member is too far behind, or the successor
    did not take over. Nothing was changed."""

    advice = "see `coterie member list`, and try again when what stands in its way is done"


class UnsafeChange(RequestError):
    """The change could leave the cluster without a quorum, or with two; it was refused."""

    advice = (
        "see `coterie member list` and `coterie settings list`: add or promote a member first, change fewer at a time, "
        "or choose other quorum sizes"
    )


class NotLoggedIn(RequestError):
    """Auth is on, and the client named no user, or one who does not exist, or a wrong password."""

    advice = "say who you are (--user NAME:PASSWORD, or ClientConfig(credentials=...)), and connect anew"


class ClientClosed(RequestError):
    """The client was closed."""

    advice = "connect anew"


_CLASSES: dict[FailureCode, type[RequestError]] = {
    FailureCode.INVALID: InvalidRequest,
    FailureCode.REJECTED: CommandRejected,
    FailureCode.NO_LEADER: Unavailable,
    FailureCode.OVERLOADED: Overloaded,
    FailureCode.NO_SPACE: NoSpace,
    FailureCode.TIMEOUT: TimedOut,
    FailureCode.SESSION_EXPIRED: SessionExpired,
    FailureCode.SESSIONS_FULL: SessionsFull,
    FailureCode.LEADER_LOST: ConnectionLost,
    FailureCode.STOPPING: Unavailable,
    FailureCode.NOT_MEMBER: Unavailable,
    FailureCode.REPLY_FORGOTTEN: ReplyForgotten,
    FailureCode.NOT_LEADER: Unavailable,
    FailureCode.NOT_NOW: NotNow,
    FailureCode.UNSAFE: UnsafeChange,
    FailureCode.NOT_LOGGED_IN: NotLoggedIn,
}


def error_of(failure: Failure, effect: Effect) -> RequestError:
    """The error that a member's failure becomes; `effect` is what the client knows over all attempts."""
    kind = _CLASSES[failure.code]
    advice = kind.advice
    if effect is Effect.NO and kind.effect is Effect.UNKNOWN:
        advice = "it did not happen: try again"
    elif effect is Effect.UNKNOWN and kind.effect is Effect.NO:
        advice = "an earlier attempt had no answer, so it may have happened: read the key before trying again"
    return kind(failure.message or failure.code.name.lower().replace("_", " "), effect=effect, advice=advice)
