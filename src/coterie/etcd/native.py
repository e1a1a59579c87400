"""Users of the native protocol: the same as those of etcd's API, with the same rights.

A client says once, for a connection, who it is; or its certificate does. Each command and question then goes in that
user's name, as one that comes by etcd's API does (`access`), and whoever changes members, leadership, settings or
quorum sizes must have the role root. Open to all are a member's status, the list of members (etcd tells both, too), and
the claim of a member that joins: it knows of no user, and the id that it claims was given to it by root.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from coterie.engine.admin_requests import AskMembers, ClaimMember
from coterie.engine.administration import ADMIN_REQUESTS
from coterie.engine.protocol import (
    Answer,
    AskStatus,
    Failure,
    FailureCode,
    Happened,
    Hello,
    LogIn,
    Query,
    Request,
    Submit,
)
from coterie.etcd.access import ROOT, Principal
from coterie.etcd.backend import Backend
from coterie.etcd.calls import ANYBODY, Caller
from coterie.etcd.status import Refusal
from coterie.machine.kv.auth.protocol import IssueToken
from coterie.machine.kv.auth.refusals import AUTH_FAILED
from coterie.machine.kv.protocol import encoder
from coterie.runtime.clients import NativeClient
from coterie.runtime.door import refusals

OPEN: Final = (AskStatus, AskMembers, ClaimMember)
"""What nobody needs to be known for."""
NOBODY_NAMED: Final = "auth is on, and the client did not say who it is"
CHANGED: Final = "what makes sure of the user has changed: it is to be shown once more"
MAX_CHECKS: Final = 256
"""Passwords that wait to be compared, for tens of milliseconds each; one more is refused. Who hangs up leaves its own
behind, so the number of connections does not bound them."""
_VOUCHING_TRIES: Final = 4
"""While others change auth."""


class ByPassword(msgspec.Struct, frozen=True):
    """A user who knew the password."""

    user: str
    hash: bytes
    """Of that password: with another one the user has to show it again."""


class ByToken(msgspec.Struct, frozen=True):
    """Whoever the token was given to; it is looked at whenever it is used."""

    token: str


class Unknown(msgspec.Struct, frozen=True):
    """Nobody, for this reason."""

    code: FailureCode
    text: str


class NativeUsers:
    """Those of one member."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._checks = 0

    # Who it is

    def log_in(self, client: NativeClient, request: LogIn) -> None:
        """Make sure of who the client is, by a state that has all that was done before it asked."""

        def fresh(answer: Answer | Failure) -> None:
            if isinstance(answer, Failure):
                client.logged_in(Unknown(answer.code, answer.message))
            elif request.token:
                client.logged_in(ByToken(request.token))
            else:
                self._check(client, request)

        self._backend.requests.fence(fresh)

    def _check(self, client: NativeClient, request: LogIn) -> None:
        hash = self._backend.access.auth.password_hash(request.user)
        if hash is None:
            client.logged_in(self._failed())
            return

        if self._checks >= MAX_CHECKS:
            text = f"{MAX_CHECKS} passwords wait to be checked at this member, its limit: try again later"
            client.logged_in(Unknown(FailureCode.OVERLOADED, text))
            return
        self._checks += 1

        def checked(right: bool) -> None:
            self._checks -= 1
            client.logged_in(ByPassword(request.user, hash) if right else self._failed())

        self._backend.node.check_password(request.password, hash, checked)

    def _failed(self) -> Unknown:
        if self._backend.access.auth.enabled:
            return Unknown(FailureCode.NOT_LOGGED_IN, AUTH_FAILED.reason)
        return Unknown(FailureCode.STOPPING, CHANGED)  # which matters only once auth is on

    def vouch(self, then: Callable[[str], None], tries: int = _VOUCHING_TRIES) -> None:
        """A token of root's, or "" if it cannot be had: for what a member asks another for."""
        token = self._backend.node.token()

        def issued(answer: Answer | Failure) -> None:
            if isinstance(answer, Answer):
                then(token)
            elif tries > 1 and answer.code is FailureCode.REJECTED:
                self.vouch(then, tries - 1)
            else:
                then("")

        command = IssueToken(ROOT, token, self._backend.access.auth.revision)
        self._backend.requests.submit(encoder.encode(command), issued)

    # What they may

    def admit(self, client: NativeClient, requests: list[Request]) -> list[Request]:
        """While auth is on: what the engine is to have, in the user's name; the others are answered."""
        guarded = [request for request in requests if not isinstance(request, OPEN)]
        if not guarded:
            return requests
        who = self._who(client)
        if not isinstance(who, Unknown):
            return [named for request in requests if (named := self._named(client, who, request)) is not None]
        if who.code is not FailureCode.NOT_LOGGED_IN:
            client.turn_away(*refusals(requests, who.code, who.text))  # it comes again, here or elsewhere
            return []
        self._refuse(client, guarded, who)
        return [request for request in requests if isinstance(request, OPEN)]

    def _refuse(self, client: NativeClient, requests: Sequence[Request], who: Unknown) -> None:
        """Once it is sure that auth is on: this member may not know yet that it was switched off, as the client may by
        what it, or somebody who told it, was answered elsewhere."""

        def fresh(answer: Answer | Failure) -> None:
            if isinstance(answer, Failure):
                client.turn_away(*refusals(requests, answer.code, answer.message))
            elif not self._backend.access.auth.enabled:
                client.turn_away(*refusals(requests, FailureCode.STOPPING, CHANGED))  # it comes again
            else:
                client.deliver(*refusals(requests, who.code, who.text))

        self._backend.requests.fence(fresh)

    def _who(self, client: NativeClient) -> Principal | Unknown:
        access, identity = self._backend.access, client.identity
        auth = access.auth
        if isinstance(identity, Unknown):
            return identity
        if isinstance(identity, ByPassword):
            if auth.password_hash(identity.user) != identity.hash:
                return Unknown(FailureCode.STOPPING, CHANGED)
            return Principal(identity.user, auth.revision)
        caller = ANYBODY
        if isinstance(identity, ByToken):
            caller = Caller(token=identity.token)
        elif client.certified is not None:
            caller = Caller(certified=client.certified.common_name)
        try:
            principal = self._backend.principal(caller)
        except Refusal as refusal:
            text = refusal.text if caller.token else NOBODY_NAMED
            return Unknown(FailureCode.NOT_LOGGED_IN, text)
        assert principal is not None, "auth is on"
        return principal

    def _named(self, client: NativeClient, principal: Principal, request: Request) -> Request | None:
        """The request in the user's name; None: it was refused."""
        access = self._backend.access
        if isinstance(request, Submit):
            return msgspec.structs.replace(request, command=access.command(principal, request.command))
        if isinstance(request, Query):
            return msgspec.structs.replace(request, question=access.question(principal, request.question))
        if isinstance(request, ADMIN_REQUESTS) and not isinstance(request, OPEN):
            rejected = access.auth.check_admin(principal.user)
            if rejected is not None:
                client.deliver(Failure(request.id, FailureCode.REJECTED, Happened.NO, rejected.reason))
                return None
        assert not isinstance(request, Hello | LogIn), "the port keeps those to itself"
        return request
