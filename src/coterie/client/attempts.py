"""What goes over a connection: greeting, farewell, and what an attempt sends, commands and questions apart (whose
bytes the core makes itself)."""

from __future__ import annotations

import msgspec

from coterie.client.config import Credentials
from coterie.client.errors import RequestError, Unavailable
from coterie.client.frames import frame
from coterie.client.requests import Kind, Outcome, Request
from coterie.core.types import Nanos
from coterie.engine.admin_requests import AdminRequest, AskMembers, AskQuorums, AskSettings, ChangeMembers
from coterie.engine.protocol import (
    CLIENT_MAGIC,
    PROTOCOL_VERSION,
    AskStatus,
    CloseSession,
    Hello,
    LogIn,
    OpenSession,
    encoder,
    response_decoder,
)

encode = encoder.encode
decode = response_decoder.decode


def greeting(name: str, credentials: Credentials | None) -> bytes:
    """The first bytes on a connection."""
    hello = CLIENT_MAGIC + frame(Hello(PROTOCOL_VERSION, name))
    return hello if credentials is None else hello + frame(LogIn(credentials.user, credentials.password))


def farewell(session: int) -> bytes:
    """Ends the session; nobody waits for the answer."""
    return frame(CloseSession(0, session))


def session_of(outcome: Outcome) -> int | RequestError:
    """The id in the answer to the opening of a session, or why there is none."""
    if isinstance(outcome, RequestError):
        return outcome
    try:
        return msgspec.msgpack.decode(outcome.body, type=int)
    except msgspec.MsgspecError as problem:
        return Unavailable(f"the answer to the opening of a session is not a session's id ({problem})")


def admin_kind(request: AdminRequest) -> Kind:
    """Whether an administrator's request changes something."""
    return Kind.LOOK if isinstance(request, AskMembers | AskSettings | AskQuorums) else Kind.CHANGE


def encode_other(request: Request, attempt: int, session_ttl: Nanos) -> bytes:
    """The frame's body of an attempt, under the id `attempt`."""
    if request.kind is Kind.STATUS:
        return encode(AskStatus(attempt))
    admin = request.admin
    if admin is None:
        return encode(OpenSession(attempt, session_ttl))
    if isinstance(admin, ChangeMembers):
        # One that may have happened is marked so: finding it done is then success.
        again = request.unknown or bool(request.attempts)
        return encode(msgspec.structs.replace(admin, id=attempt, again=again))
    return encode(msgspec.structs.replace(admin, id=attempt))
