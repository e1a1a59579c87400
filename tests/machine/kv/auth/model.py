"""Auth so simple that it is right: permissions in lists, every check a look at every key that could matter."""

from __future__ import annotations

from dataclasses import dataclass, field

from coterie.machine.kv.auth.protocol import (
    AuthCommand,
    AuthDisable,
    AuthEnable,
    IssueToken,
    PermissionKind,
    RoleAdd,
    RoleDelete,
    RoleGrantPermission,
    RoleRevokePermission,
    TouchToken,
    UserAdd,
    UserChangePassword,
    UserDelete,
    UserGrantRole,
    UserRevokeRole,
)

TOKEN_NS = 300_000_000_000
Keys = tuple[bytes, bytes]


@dataclass
class ModelUser:
    password: bytes | None
    roles: set[str] = field(default_factory=set)


class Model:
    """What auth is; `run` gives the reason for a refusal, or None."""

    def __init__(self) -> None:
        self.enabled = False
        self.revision = 1
        self.users: dict[str, ModelUser] = {}
        self.roles: dict[str, dict[Keys, PermissionKind]] = {}
        self.tokens: dict[str, tuple[str, int]] = {}

    def pass_time(self, now: int) -> None:
        self.tokens = {name: token for name, token in self.tokens.items() if token[1] > now}

    def run(self, command: AuthCommand, now: int) -> str | None:
        """All or nothing."""
        if isinstance(command, AuthEnable):
            if not self.enabled and "root" not in self.users:
                return "root user does not exist"
            if not self.enabled and "root" not in self.users["root"].roles:
                return "root user does not have root role"
            self.enabled = True
            return None
        if isinstance(command, AuthDisable):
            if self.enabled:
                self.enabled = False
                self.revision += 1
                self.tokens.clear()
            return None
        if isinstance(command, IssueToken):
            user = self.users.get(command.user)
            if not self.enabled:
                return "authentication is not enabled"
            if user is None:
                return "authentication failed, invalid user ID or password"
            if command.auth_revision < self.revision:
                return "revision of auth store is old"
            if command.token in self.tokens:
                return "the token is in use already: make another one"
            self.tokens[command.token] = (command.user, now + TOKEN_NS)
            return None
        if isinstance(command, TouchToken):
            if command.token not in self.tokens:
                return "invalid auth token"
            self.tokens[command.token] = (self.tokens[command.token][0], now + TOKEN_NS)
            return None
        refused = self._change(command)
        if refused is None:
            self.revision += 1
        return refused or None

    def _change(self, command: AuthCommand) -> str | None:
        """The reason; empty if nothing changed."""
        root = self.enabled and "root"
        if isinstance(command, UserAdd):
            if not command.name:
                return "user name is empty"
            if command.name in self.users:
                return "user name already exists"
            self.users[command.name] = ModelUser(None if command.no_password else command.password_hash)
        elif isinstance(command, UserDelete | UserChangePassword):
            if isinstance(command, UserDelete) and command.name == root:
                return "invalid auth management"
            if command.name not in self.users:
                return "user name not found"
            if isinstance(command, UserDelete):
                del self.users[command.name]
            elif self.users[command.name].password is not None:
                self.users[command.name].password = command.password_hash
            self.tokens = {name: token for name, token in self.tokens.items() if token[0] != command.name}
        elif isinstance(command, UserGrantRole | UserRevokeRole):
            if isinstance(command, UserRevokeRole) and command.user == command.role == root:
                return "invalid auth management"
            if command.user not in self.users:
                return "user name not found"
            roles = self.users[command.user].roles
            if isinstance(command, UserGrantRole):
                if command.role != "root" and command.role not in self.roles:
                    return "role name not found"
                if command.role in roles:
                    return ""
                roles.add(command.role)
            elif command.role not in roles:
                return "role is not granted to the user"
            else:
                roles.remove(command.role)
        elif isinstance(command, RoleAdd | RoleDelete):
            if isinstance(command, RoleAdd):
                if not command.name:
                    return "role name is empty"
                if command.name in self.roles:
                    return "role name already exists"
                self.roles[command.name] = {}
                return None
            if command.name == root:
                return "invalid auth management"
            if command.name not in self.roles:
                return "role name not found"
            del self.roles[command.name]
            for user in self.users.values():
                user.roles.discard(command.name)
        else:
            assert isinstance(command, RoleGrantPermission | RoleRevokePermission)
            if isinstance(command, RoleGrantPermission) and command.kind is None:
                return "permission not given"
            if command.role not in self.roles:
                return "role name not found"
            keys = (command.key, command.end)
            if isinstance(command, RoleGrantPermission):
                assert command.kind is not None
                self.roles[command.role][keys] = command.kind
            elif keys not in self.roles[command.role]:
                return "permission is not granted to the role"
            else:
                del self.roles[command.role][keys]
        return None

    def refuse(self, user: str, key: bytes, end: bytes, write: bool) -> str | None:
        """Why the user may not read, or write, [key, end)."""
        if not self.enabled:
            return None
        if not user:
            return "user name is empty"
        if user not in self.users:
            return "permission denied"
        roles = self.users[user].roles
        if "root" in roles:
            return None
        other = PermissionKind.READ if write else PermissionKind.WRITE
        allowed = [keys for role in roles for keys, kind in self.roles.get(role, {}).items() if kind is not other]
        edges = {key, end, *(edge for keys in allowed for edge in keys)}
        # Between two edges all keys are alike, but for the first one: a permission may be for just that.
        matter = [each for edge in edges for each in (edge, edge + b"\0")]
        asked = [each for each in matter if inside(each, key, end)] or [key]
        return None if all(any(inside(each, *keys) for keys in allowed) for each in asked) else "permission denied"


def inside(key: bytes, start: bytes, end: bytes) -> bool:
    if not end:
        return key == start
    return key >= start and (end == b"\0" or key < end)
