"""gRPC's status codes, and the errors of etcd's API: clients match on both, and on the words.

Source: etcd 3.5, api/v3rpc/rpctypes/error.go; https://grpc.github.io/grpc/core/md_doc_statuscodes.html.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from coterie.core.errors import CoterieError
from coterie.engine.protocol import Failure, FailureCode
from coterie.http2 import Status
from coterie.machine.host import RESTORING

Code: TypeAlias = Status
"""gRPC's."""


class Refusal(CoterieError):
    """A call ends with this status."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


PREFIX: Final = "etcdserver: "
_BY_CODE: Final[dict[Code, tuple[str, ...]]] = {
    Code.INVALID_ARGUMENT: (
        "key is not provided",
        "key not found",
        "value is provided",
        "lease is provided",
        "too many operations in txn request",
        "duplicate key given in txn request",
        "invalid client api version",
        "invalid sort option",
        "given member URLs are invalid",
        "request is too large",
        "user name is empty",
        "role name is empty",
        "authentication failed, invalid user ID or password",
        "permission not given",
        "invalid auth management",
        "revision of auth store is old",
        "wrong downgrade target version format",
        "invalid downgrade target version",
    ),
    Code.OUT_OF_RANGE: (
        "mvcc: required revision has been compacted",
        "mvcc: required revision is a future revision",
        "too large lease TTL",
    ),
    Code.RESOURCE_EXHAUSTED: ("mvcc: database space exceeded", "too many requests"),
    Code.NOT_FOUND: ("requested lease not found", "member not found"),
    Code.FAILED_PRECONDITION: (
        "lease already exists",
        "member ID already exist",
        "Peer URLs already exists",
        "re-configuration failed due to not enough started members",
        "can only promote a learner member",
        "can only promote a learner member which is in sync with leader",
        "too many learner members in cluster",
        "root user does not exist",
        "root user does not have root role",
        "user name already exists",
        "user name not found",
        "role name already exists",
        "role name not found",
        "role is not granted to the user",
        "permission is not granted to the role",
        "authentication is not enabled",
        "not leader",
        "bad leader transferee",
        "no inflight downgrade job",
    ),
    Code.PERMISSION_DENIED: ("permission denied",),
    Code.UNAUTHENTICATED: ("invalid auth token",),
    Code.CANCELLED: ("watch canceled",),
    Code.UNAVAILABLE: (
        "no leader",
        "leader changed",
        "not capable",
        "server stopped",
        "request timed out",
        "request timed out, possibly due to previous leader failure",
        "unhealthy cluster",
        "rpc not supported for learner",
        RESTORING.reason,
    ),
    Code.DATA_LOSS: ("corrupt cluster",),
}
_CODES: Final = {text: code for code, texts in _BY_CODE.items() for text in texts}


def refused(text: str) -> Refusal:
    """One of etcd's errors by its words, without the prefix; unknown words are an invalid argument."""
    known = text.partition(": the limit")[0]  # ours name the limit where etcd's do not
    code = _CODES.get(known)
    if code is None:
        return Refusal(Code.INVALID_ARGUMENT, PREFIX + text)
    return Refusal(code, PREFIX + known)


_FAILURES: Final[dict[FailureCode, str]] = {
    FailureCode.NO_LEADER: "no leader",
    FailureCode.OVERLOADED: "too many requests",
    FailureCode.NO_SPACE: "mvcc: database space exceeded",
    FailureCode.TIMEOUT: "request timed out",
    FailureCode.LEADER_LOST: "leader changed",
    FailureCode.STOPPING: "server stopped",
    FailureCode.NOT_LEADER: "not leader",
    FailureCode.UNSAFE: "re-configuration failed due to not enough started members",
}


def failed(failure: Failure) -> Refusal:
    """What the engine's failure is in etcd's words."""
    if failure.code is FailureCode.REJECTED:
        return refused(failure.message)
    known = _FAILURES.get(failure.code)
    if known is not None:
        return refused(known)
    code = Code.UNAVAILABLE if failure.code is FailureCode.NOT_MEMBER else Code.INVALID_ARGUMENT
    return Refusal(code, PREFIX + failure.message)
