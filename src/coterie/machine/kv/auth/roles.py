"""Roles and users, and what they are allowed to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from coterie.machine.kv.auth.protocol import Permission, PermissionKind
from coterie.machine.kv.spans import Spans

ROOT = "root"
"""Name of the user and of the role that auth can't be on without; the role allows everything."""
MAX_NAME_BYTES = 1024
MAX_HASH_BYTES = 1024
MAX_NAMES = 1 << 16
"""Users, and roles, that there may be."""
MAX_ROLE_BYTES = 1024 * 1024
"""Keys and ends of a role's permissions, together."""
_PERMISSION_BYTES = 32
"""What a permission counts for beyond its key and end."""


class User(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Someone who may ask for something."""

    name: str
    password_hash: bytes
    no_password: bool = False
    roles: tuple[str, ...] = ()
    """In order."""

    @property
    def root(self) -> bool:
        """Whether everything is allowed to them."""
        return ROOT in self.roles

    def granted(self, role: str) -> User:
        """With this role, too."""
        return msgspec.structs.replace(self, roles=tuple(sorted({*self.roles, role})))

    def revoked(self, role: str) -> User:
        """Without this role."""
        return msgspec.structs.replace(self, roles=tuple(name for name in self.roles if name != role))


class Role(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Permissions under a name."""

    name: str
    permissions: tuple[Permission, ...] = ()
    """By key and end, each pair of them once."""

    @property
    def size(self) -> int:
        """What its permissions count for, in bytes."""
        return sum(len(each.key) + len(each.end) + _PERMISSION_BYTES for each in self.permissions)

    def granted(self, permission: Permission) -> Role:
        """With this permission, instead of the one for the same keys if there was one."""
        kept = self.revoked(permission.key, permission.end).permissions
        return Role(self.name, tuple(sorted((*kept, permission), key=_place)))

    def revoked(self, key: bytes, end: bytes) -> Role:
        """Without the permission for just these keys."""
        return Role(self.name, tuple(each for each in self.permissions if _place(each) != (key, end)))


def _place(permission: Permission) -> tuple[bytes, bytes]:
    return permission.key, permission.end


class Reach(NamedTuple):
    """The keys that a user may read, and those that they may write: permissions of all roles as one (etcd's
    unifiedRangePermissions), so a range may be covered by several that touch."""

    read: Spans
    write: Spans


def reach_of(user: User, roles: Mapping[str, Role]) -> Reach:
    """What the user's roles allow. A role that is not there (`root` may be such) allows nothing here."""
    permissions = [each for name in user.roles if name in roles for each in roles[name].permissions]
    return Reach(
        _spans(each for each in permissions if each.kind is not PermissionKind.WRITE),
        _spans(each for each in permissions if each.kind is not PermissionKind.READ),
    )


def _spans(permissions: Iterable[Permission]) -> Spans:
    return Spans(map(_place, permissions))
