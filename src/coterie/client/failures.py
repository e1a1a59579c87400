"""What a member's failure means for a request: try again, where, or give up."""

from __future__ import annotations

from enum import Enum

from coterie.client.errors import RequestError, TimedOut, Unavailable, error_of
from coterie.client.requests import Request
from coterie.core.errors import Effect
from coterie.engine.protocol import Failure, FailureCode, Happened
from coterie.machine.kv.auth.refusals import OLD_REVISION


class Verdict(Enum):
    """What to do with the request."""

    RETRY = "send again, at another member first"
    WAIT = "send again after a while"
    RENEW = "send again in a new session"
    ANEW = "send again after a while, as a request that was never sent"
    RAISE = "tell the caller"


_FINAL = frozenset(
    {
        FailureCode.INVALID,
        FailureCode.REJECTED,
        FailureCode.NO_SPACE,
        FailureCode.SESSIONS_FULL,
        FailureCode.REPLY_FORGOTTEN,
        FailureCode.NOT_NOW,
        FailureCode.UNSAFE,
        FailureCode.NOT_LOGGED_IN,
    }
)
"""Sending again soon would give the same answer."""

BLAMES_MEMBER = frozenset(
    {
        FailureCode.NO_LEADER,
        FailureCode.TIMEOUT,
        FailureCode.LEADER_LOST,
        FailureCode.STOPPING,
        FailureCode.NOT_MEMBER,
    }
)
"""Another member may well do better."""


def judge(request: Request, failure: Failure) -> Verdict:
    """What to do after `failure`; call it when the attempt is no longer among `request.attempts`.

    A command is sent again only if no attempt can have run, or if its session makes sure that it runs
    at most once. What breaks otherwise: a put that was applied, lost its answer and is sent again
    undoes a later put of someone else (jetcd 0.8.2, Jepsen 2024).
    """
    if failure.code is FailureCode.REJECTED and failure.message == OLD_REVISION.reason:
        # The member that named the user was behind in what it knows of users. To any other attempt under this number
        # the machine answers the same; without a number another may have run.
        fresh = not request.attempts and (request.repeatable or not request.unknown)
        return Verdict.ANEW if fresh else Verdict.RAISE
    if failure.code in _FINAL or failure.happened is Happened.YES:
        return Verdict.RAISE
    if failure.code is FailureCode.SESSION_EXPIRED:
        # Refused, never run: but only the first attempt's refusal says that nothing ran before.
        fresh = request.exactly_once and not request.unknown and not request.attempts
        return Verdict.RENEW if fresh else Verdict.RAISE
    if failure.happened is Happened.UNKNOWN and not request.repeatable:
        return Verdict.RAISE
    return Verdict.WAIT if failure.code is FailureCode.OVERLOADED else Verdict.RETRY


def effect_of(request: Request, failure: Failure) -> Effect:
    """Whether the request took effect, told by its last failure and by what is known of other attempts."""
    if not request.has_effect:
        return Effect.NO
    if failure.happened is Happened.YES:
        return Effect.YES
    if failure.code is FailureCode.REJECTED:
        return Effect.NO  # The machine's own answer; in a session it is the answer to every attempt.
    if failure.code is not FailureCode.SESSION_EXPIRED and failure.happened is Happened.UNKNOWN:
        return Effect.UNKNOWN
    return request.effect()


def out_of_time(request: Request, opening: Request | None, places: str) -> RequestError:
    """The error of a request whose deadline has come.

    `opening` is the request that opens a session, if that is what this one waits for; `places` says
    why members do not serve.
    """
    effect = request.effect()
    culprit = request
    if request.exactly_once and not request.seq and opening is not None:
        culprit = opening
    if not culprit.sent:
        return Unavailable(f"no member could serve the request in time ({places or 'none answered'})", effect=effect)
    failure = culprit.last_failure
    if failure is not None and not culprit.attempts:
        error = error_of(failure, effect)
        return type(error)(f"{error}; tried until the timeout", effect=effect, advice=error.advice)
    advice = None if effect is Effect.UNKNOWN else "it did not happen: try again, or use a longer timeout"
    known = [f"before, a member said: {failure.message}"] if failure is not None else []
    known += [places] if places else []
    return TimedOut(
        "no answer within the timeout" + (f" ({'; '.join(known)})" if known else ""), effect=effect, advice=advice
    )
