"""What the commands about auth do. The rules are etcd's (server/auth/store.go).

Where etcd can end up with two permissions of a role for the same keys, or finds the wrong one of several that begin
alike, a role here has one permission for each key and end.
"""

from __future__ import annotations

from coterie.core.types import Nanos
from coterie.machine.interface import Rejected
from coterie.machine.kv.auth.protocol import (
    AuthCommand,
    AuthDisable,
    AuthEnable,
    IssueToken,
    Permission,
    RoleAdd,
    RoleCommand,
    RoleDelete,
    RoleGrantPermission,
    RoleRevokePermission,
    TouchToken,
    UserAdd,
    UserChangePassword,
    UserCommand,
    UserDelete,
    UserGrantRole,
    UserRevokeRole,
)
from coterie.machine.kv.auth.refusals import (
    AUTH_FAILED,
    AUTH_NOT_ENABLED,
    INVALID_MANAGEMENT,
    INVALID_TOKEN,
    OLD_REVISION,
    PERMISSION_NOT_GIVEN,
    PERMISSION_NOT_GRANTED,
    ROLE_EMPTY,
    ROLE_EXISTS,
    ROLE_NOT_FOUND,
    ROLE_NOT_GRANTED,
    ROOT_ROLE_MISSING,
    ROOT_USER_MISSING,
    TOKEN_EXISTS,
    USER_EMPTY,
    USER_EXISTS,
    USER_NOT_FOUND,
)
from coterie.machine.kv.auth.roles import (
    MAX_HASH_BYTES,
    MAX_NAME_BYTES,
    MAX_NAMES,
    MAX_ROLE_BYTES,
    ROOT,
    Role,
    User,
)
from coterie.machine.kv.auth.store import AuthStore
from coterie.machine.kv.auth.tokens import MAX_TOKEN_BYTES, MAX_TOKENS


def run_auth(auth: AuthStore, command: AuthCommand, now: Nanos) -> Rejected | None:
    """Run the command at this cluster time; why it is refused, or None."""
    if isinstance(command, IssueToken):
        return _issue(auth, command, now)
    if isinstance(command, TouchToken):
        return _touch(auth, command, now)
    if isinstance(command, AuthEnable):
        return _enable(auth)
    if isinstance(command, AuthDisable):
        if auth.enabled:
            auth.set_state(enabled=False, revision=auth.revision + 1)
            auth.end_tokens(None)
        return None
    return _user(auth, command) if isinstance(command, UserCommand) else _role(auth, command)


def _done(auth: AuthStore) -> None:
    """The command has changed something."""
    auth.set_state(enabled=auth.enabled, revision=auth.revision + 1)


def _enable(auth: AuthStore) -> Rejected | None:
    """The revision stays: whoever asks from now on was not asked who they are before."""
    if auth.enabled:
        return None
    root = auth.users.get(ROOT)
    if root is None:
        return ROOT_USER_MISSING
    if not root.root:
        return ROOT_ROLE_MISSING
    auth.set_state(enabled=True, revision=auth.revision)
    return None


# Users


def _user(auth: AuthStore, command: UserCommand) -> Rejected | None:
    if isinstance(command, UserAdd):
        return _add_user(auth, command)
    if isinstance(command, UserDelete):
        if auth.enabled and command.name == ROOT:
            return INVALID_MANAGEMENT
        if command.name not in auth.users:
            return USER_NOT_FOUND
        auth.delete_user(command.name)
        _done(auth)
        return None
    if isinstance(command, UserChangePassword):
        return _change_password(auth, command)
    if isinstance(command, UserGrantRole):
        return _grant_role(auth, command)
    return _revoke_role(auth, command)


def _add_user(auth: AuthStore, command: UserAdd) -> Rejected | None:
    if not command.name:
        return USER_EMPTY
    if command.name in auth.users:
        return USER_EXISTS
    refused = _refuse_name(command.name, len(auth.users)) or _refuse_hash(command.password_hash)
    if refused is not None:
        return refused
    password_hash = b"" if command.no_password else command.password_hash
    auth.set_user(User(command.name, password_hash, command.no_password))
    _done(auth)
    return None


def _change_password(auth: AuthStore, command: UserChangePassword) -> Rejected | None:
    user = auth.users.get(command.name)
    if user is None:
        return USER_NOT_FOUND
    refused = _refuse_hash(command.password_hash)
    if refused is not None:
        return refused
    password_hash = b"" if user.no_password else command.password_hash
    auth.set_user(User(user.name, password_hash, user.no_password, user.roles))
    auth.end_tokens(user.name)
    _done(auth)
    return None


def _grant_role(auth: AuthStore, command: UserGrantRole) -> Rejected | None:
    user = auth.users.get(command.user)
    if user is None:
        return USER_NOT_FOUND
    if command.role != ROOT and command.role not in auth.roles:
        return ROLE_NOT_FOUND
    if command.role in user.roles:
        return None  # as it was: no new revision, as in etcd
    auth.set_user(user.granted(command.role))
    _done(auth)
    return None


def _revoke_role(auth: AuthStore, command: UserRevokeRole) -> Rejected | None:
    if auth.enabled and command.user == command.role == ROOT:
        return INVALID_MANAGEMENT
    user = auth.users.get(command.user)
    if user is None:
        return USER_NOT_FOUND
    if command.role not in user.roles:
        return ROLE_NOT_GRANTED
    auth.set_user(user.revoked(command.role))
    _done(auth)
    return None


# Roles


def _role(auth: AuthStore, command: RoleCommand) -> Rejected | None:
    if isinstance(command, RoleAdd):
        return _add_role(auth, command)
    if isinstance(command, RoleDelete):
        return _delete_role(auth, command)
    if isinstance(command, RoleGrantPermission):
        return _grant_permission(auth, command)
    return _revoke_permission(auth, command)


def _add_role(auth: AuthStore, command: RoleAdd) -> Rejected | None:
    if not command.name:
        return ROLE_EMPTY
    if command.name in auth.roles:
        return ROLE_EXISTS
    refused = _refuse_name(command.name, len(auth.roles))
    if refused is not None:
        return refused
    auth.set_role(Role(command.name))
    _done(auth)
    return None


def _delete_role(auth: AuthStore, command: RoleDelete) -> Rejected | None:
    if auth.enabled and command.name == ROOT:
        return INVALID_MANAGEMENT
    if command.name not in auth.roles:
        return ROLE_NOT_FOUND
    auth.delete_role(command.name)
    for user in list(auth.users.values()):
        if command.name in user.roles:
            auth.set_user(user.revoked(command.name))
    _done(auth)
    return None


def _grant_permission(auth: AuthStore, command: RoleGrantPermission) -> Rejected | None:
    if command.kind is None:
        return PERMISSION_NOT_GIVEN
    role = auth.roles.get(command.role)
    if role is None:
        return ROLE_NOT_FOUND
    role = role.granted(Permission(command.kind, command.key, command.end))
    if role.size > MAX_ROLE_BYTES:
        return Rejected(f"the role's permissions have {role.size} bytes, the limit is {MAX_ROLE_BYTES}")
    auth.set_role(role)
    _done(auth)
    return None


def _revoke_permission(auth: AuthStore, command: RoleRevokePermission) -> Rejected | None:
    before = auth.roles.get(command.role)
    if before is None:
        return ROLE_NOT_FOUND
    role = before.revoked(command.key, command.end)
    if len(role.permissions) == len(before.permissions):
        return PERMISSION_NOT_GRANTED
    auth.set_role(role)
    _done(auth)
    return None


# Tokens


def _issue(auth: AuthStore, command: IssueToken, now: Nanos) -> Rejected | None:
    if not auth.enabled:
        return AUTH_NOT_ENABLED
    if command.user not in auth.users:
        return AUTH_FAILED
    if command.auth_revision < auth.revision:
        return OLD_REVISION  # the password that was checked may be another one now
    size = len(command.token.encode())
    if not 0 < size <= MAX_TOKEN_BYTES:
        return Rejected(f"a token has 1 to {MAX_TOKEN_BYTES} bytes, not {size}")
    if auth.token(command.token) is not None:
        return TOKEN_EXISTS
    if auth.tokens >= MAX_TOKENS:
        return Rejected(f"there are {MAX_TOKENS} tokens in use: use them again, or wait until some have ended")
    auth.set_token(command.token, command.user, now)
    return None


def _touch(auth: AuthStore, command: TouchToken, now: Nanos) -> Rejected | None:
    user = auth.user_of_token(command.token, now)
    if user is None:
        return INVALID_TOKEN
    auth.set_token(command.token, user, now)
    return None


# Bounds


def _refuse_name(name: str, names: int) -> Rejected | None:
    size = len(name.encode())
    if size > MAX_NAME_BYTES:
        return Rejected(f"the name has {size} bytes, the limit is {MAX_NAME_BYTES}")
    if names >= MAX_NAMES:
        return Rejected(f"there are {names} users, or roles, already: the limit is {MAX_NAMES}")
    return None


def _refuse_hash(password_hash: bytes) -> Rejected | None:
    if len(password_hash) > MAX_HASH_BYTES:
        return Rejected(f"the password's hash has {len(password_hash)} bytes, the limit is {MAX_HASH_BYTES}")
    return None
