"""Who a caller is, and that what it asks for goes with its name where auth is on."""

from __future__ import annotations

import msgspec

from coterie.core.types import Nanos
from coterie.etcd.calls import Caller
from coterie.etcd.status import refused
from coterie.machine.interface import Rejected
from coterie.machine.kv.auth.protocol import Authorised, AuthorisedQuestion
from coterie.machine.kv.auth.store import AuthStore
from coterie.machine.kv.machine import KeyValue
from coterie.machine.kv.protocol import encoder

ROOT = "root"


class Principal(msgspec.Struct, frozen=True):
    """A caller, made sure of."""

    user: str
    revision: int
    """Of auth, when that was."""


class Access:
    """The member's side of auth: the machine's (`machine.kv.auth.gate`) decides when the command is applied."""

    def __init__(self, machine: KeyValue) -> None:
        self._machine = machine

    @property
    def auth(self) -> AuthStore:
        """The present one: another after a snapshot was installed."""
        return self._machine.auth

    def principal(self, caller: Caller, time: Nanos) -> Principal | None:
        """Who calls at this cluster time; None: auth is off. Raises `Refusal`: nobody knows."""
        auth = self.auth
        if not auth.enabled:
            return None
        revision = auth.revision
        if caller.token:
            user = auth.user_of_token(caller.token, time)
            if user is None:
                raise refused("invalid auth token")
            return Principal(user, revision)
        if caller.certified and caller.certified in auth.users:
            return Principal(caller.certified, revision)
        raise refused("user name is empty")

    def own(self) -> Principal | None:
        """What a member does of itself it does as root: with auth on there is one. None: auth is off."""
        auth = self.auth
        return Principal(ROOT, auth.revision) if auth.enabled else None

    def command(self, principal: Principal | None, command: bytes) -> bytes:
        """The command in its caller's name."""
        if principal is None:
            return command
        return encoder.encode(Authorised(principal.user, principal.revision, command))

    def question(self, principal: Principal | None, question: bytes) -> bytes:
        """The question in its caller's name."""
        if principal is None:
            return question
        return encoder.encode(AuthorisedQuestion(principal.user, principal.revision, question))

    def may_read(self, principal: Principal | None, key: bytes, end: bytes) -> Rejected | None:
        """Why the range may not be read in the present state, or None."""
        auth = self.auth
        if not auth.enabled:
            return None
        if principal is None:
            return auth.check_range("", key, end)
        return auth.check_revision(principal.user, principal.revision) or auth.check_range(principal.user, key, end)

    def must_administer(self, principal: Principal | None) -> None:
        """Raises `Refusal` unless the caller may change members and maintain."""
        rejected = self.auth.check_admin(principal.user if principal is not None else "")
        if rejected is not None:
            raise refused(rejected.reason)
