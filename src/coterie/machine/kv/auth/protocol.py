"""Commands, questions and replies about auth (see `coterie.machine.kv.protocol`, whose unions they are part of)."""

from __future__ import annotations

from enum import IntEnum
from typing import TypeAlias

import msgspec


class PermissionKind(IntEnum):
    """What a permission allows (authpb.Permission.Type)."""

    READ = 0
    WRITE = 1
    READWRITE = 2


class Permission(msgspec.Struct, frozen=True, array_like=True):
    """May do so with `key`, or with [key, end) if `end` is not empty; end b"\\0" means 'to the last key'."""

    kind: PermissionKind
    key: bytes
    end: bytes = b""


# Commands. Those that change something raise the revision of auth by one, AuthEnable apart (as in etcd).


class AuthEnable(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=30):
    """From now on commands need a user. A user `root` with the role `root` must be there."""


class AuthDisable(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=31):
    """Whoever asks is served again; all tokens end."""


class UserAdd(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=32):
    """A new user without roles. A hash comes, never a password: it is made, and checked, by the member that serves.
    With `no_password` the user has none, and gets no tokens: they come by certificate."""

    name: str
    password_hash: bytes
    no_password: bool = False


class UserDelete(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=33):
    """The user is gone, and so are their tokens."""

    name: str


class UserChangePassword(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=34):
    """The user's tokens end. A user without a password keeps none."""

    name: str
    password_hash: bytes


class UserGrantRole(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=35):
    """The role `root` may be granted without being there; it allows everything."""

    user: str
    role: str


class UserRevokeRole(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=36):
    """Take a role from a user."""

    user: str
    role: str


class RoleAdd(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=37):
    """A new role without permissions."""

    name: str


class RoleDelete(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=38):
    """The role is gone, from all users too."""

    name: str


class RoleGrantPermission(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=39):
    """Give a role a permission. One for the same key and end is replaced. `kind` None: the request had none, and is
    refused."""

    role: str
    kind: PermissionKind | None
    key: bytes
    end: bytes = b""


class RoleRevokePermission(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=40):
    """Take a role's permission for just this key and end, whatever its kind."""

    role: str
    key: bytes
    end: bytes = b""


# Commands that members make themselves


class IssueToken(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=41):
    """Whoever shows `token` is `user` from now on, until it has not been used for `tokens.TOKEN_NS` of cluster time.

    `auth_revision`: of auth, when the member looked up the hash that it checked the password against, or made sure of
    the user otherwise. If auth has changed since, the command is refused, for that may have.
    """

    user: str
    token: str
    auth_revision: int


class TouchToken(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=42):
    """The token's time begins anew."""

    token: str


class Authorised(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=43):
    """An encoded command that `user` asks for. `auth_revision`: of auth, when the member found out who they are."""

    user: str
    auth_revision: int
    command: bytes


# Questions


class AskAuthStatus(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=50):
    """Whether auth is on. Answered with `AuthStatusReply`."""


class AskUser(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=51):
    """The user's roles, as `NamesReply`."""

    name: str


class AskUsers(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=52):
    """The names of all users, as `NamesReply`."""


class AskRole(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=53):
    """The role's permissions, as `RoleReply`; of the role root what was granted to it, though it allows all."""

    name: str


class AskRoles(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=54):
    """The names of all roles, as `NamesReply`."""


class AuthorisedQuestion(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=55):
    """An encoded question that `user` asks: see `Authorised`."""

    user: str
    auth_revision: int
    question: bytes


# Replies. `revision` is the key-value data's, as in every reply; auth has a revision of its own.


class AuthReply(msgspec.Struct, frozen=True, array_like=True, tag=30):
    """It is done."""

    revision: int


class AuthStatusReply(msgspec.Struct, frozen=True, array_like=True, tag=31):
    """Whether auth is on, and its revision."""

    revision: int
    enabled: bool
    auth_revision: int


class NamesReply(msgspec.Struct, frozen=True, array_like=True, tag=32):
    """Names of users or roles, in order."""

    revision: int
    names: tuple[str, ...]


class RoleReply(msgspec.Struct, frozen=True, array_like=True, tag=33):
    """A role's permissions, by key and end."""

    revision: int
    permissions: tuple[Permission, ...]


UserCommand: TypeAlias = UserAdd | UserDelete | UserChangePassword | UserGrantRole | UserRevokeRole
RoleCommand: TypeAlias = RoleAdd | RoleDelete | RoleGrantPermission | RoleRevokePermission
TokenCommand: TypeAlias = IssueToken | TouchToken
AuthCommand: TypeAlias = AuthEnable | AuthDisable | UserCommand | RoleCommand | TokenCommand
AuthQuestion: TypeAlias = AskAuthStatus | AskUser | AskUsers | AskRole | AskRoles
AnyAuthReply: TypeAlias = AuthReply | AuthStatusReply | NamesReply | RoleReply

_MEMBERS_ALONE = frozenset((41, 42, 43, 55))
"""Tags of IssueToken, TouchToken, Authorised, AuthorisedQuestion."""
ORDINARY = frozenset(
    bytes((0x90 | length, tag)) for length in range(16) for tag in range(128) if tag not in _MEMBERS_ALONE
)
"""How an encoded array of up to 15 elements begins, the first of which is another tag."""
_OUTER = msgspec.msgpack.Decoder(list[msgspec.Raw])
_TAG = msgspec.msgpack.Decoder(int)


def for_members_alone(body: bytes) -> bool:
    """Whether an encoded command or question is one that only a member may make: what a client sends as such must
    never reach the log or the machine, for it would say itself who it is. What is no command at all is no such one."""
    try:
        outer = _OUTER.decode(body)
        return bool(outer) and _TAG.decode(outer[0]) in _MEMBERS_ALONE
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
