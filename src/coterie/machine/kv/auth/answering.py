"""Questions about auth. Hashes and tokens are in no answer."""

from __future__ import annotations

from coterie.machine.interface import Rejected
from coterie.machine.kv.auth.protocol import (
    AnyAuthReply,
    AskAuthStatus,
    AskRole,
    AskUser,
    AskUsers,
    AuthQuestion,
    AuthStatusReply,
    NamesReply,
    RoleReply,
)
from coterie.machine.kv.auth.refusals import ROLE_NOT_FOUND, USER_NOT_FOUND
from coterie.machine.kv.auth.store import AuthStore


def answer_auth(auth: AuthStore, asked: AuthQuestion, revision: int) -> AnyAuthReply | Rejected:
    """The answer; `revision` goes into it."""
    if isinstance(asked, AskAuthStatus):
        return AuthStatusReply(revision, auth.enabled, auth.revision)
    if isinstance(asked, AskUser):
        user = auth.users.get(asked.name)
        return USER_NOT_FOUND if user is None else NamesReply(revision, user.roles)
    if isinstance(asked, AskRole):
        role = auth.roles.get(asked.name)
        return ROLE_NOT_FOUND if role is None else RoleReply(revision, role.permissions)
    return NamesReply(revision, tuple(sorted(auth.users if isinstance(asked, AskUsers) else auth.roles)))
