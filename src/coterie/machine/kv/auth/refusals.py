"""Why auth refuses: etcd's words (api/v3rpc/rpctypes/error.go) without its "etcdserver: "."""

from __future__ import annotations

from coterie.machine.interface import Rejected

ROOT_USER_MISSING = Rejected("root user does not exist")
ROOT_ROLE_MISSING = Rejected("root user does not have root role")
USER_EXISTS = Rejected("user name already exists")
USER_EMPTY = Rejected("user name is empty")
USER_NOT_FOUND = Rejected("user name not found")
ROLE_EXISTS = Rejected("role name already exists")
ROLE_NOT_FOUND = Rejected("role name not found")
ROLE_EMPTY = Rejected("role name is empty")
AUTH_FAILED = Rejected("authentication failed, invalid user ID or password")
PERMISSION_NOT_GIVEN = Rejected("permission not given")
PERMISSION_DENIED = Rejected("permission denied")
ROLE_NOT_GRANTED = Rejected("role is not granted to the user")
PERMISSION_NOT_GRANTED = Rejected("permission is not granted to the role")
AUTH_NOT_ENABLED = Rejected("authentication is not enabled")
INVALID_MANAGEMENT = Rejected("invalid auth management")
OLD_REVISION = Rejected("revision of auth store is old")
INVALID_TOKEN = Rejected("invalid auth token")
# Of our own: what etcd does not bound, or has no such message for.
TOKEN_EXISTS = Rejected("the token is in use already: make another one")
MEMBERS_ALONE = Rejected("a command or question that only a member makes can't be asked for by a user")
