"""The Auth service: users, roles, permissions, tokens (etcd 3.5, api/v3rpc/auth.go). Passwords never enter the log."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable

from coterie.engine.protocol import Answer, Failure
from coterie.etcd.backend import NOTHING, Backend
from coterie.etcd.calls import Caller, Stream
from coterie.etcd.passwords import MAX_BYTES
from coterie.etcd.status import Code, Refusal, failed, refused
from coterie.etcd.wire import auth as authpb
from coterie.etcd.wire import rpc
from coterie.machine.kv.auth.protocol import (
    AskAuthStatus,
    AskRole,
    AskRoles,
    AskUser,
    AskUsers,
    AuthCommand,
    AuthDisable,
    AuthEnable,
    AuthStatusReply,
    IssueToken,
    NamesReply,
    PermissionKind,
    RoleAdd,
    RoleDelete,
    RoleGrantPermission,
    RoleReply,
    RoleRevokePermission,
    UserAdd,
    UserChangePassword,
    UserDelete,
    UserGrantRole,
    UserRevokeRole,
)
from coterie.machine.kv.protocol import Reply, encoder, reply_decoder

MAX_TRIES = 4
"""Of a login while others change auth: each time the password is checked anew."""
_FAILED = "authentication failed, invalid user ID or password"
_TYPES = {
    PermissionKind.READ: authpb.Permission.READ,
    PermissionKind.WRITE: authpb.Permission.WRITE,
    PermissionKind.READWRITE: authpb.Permission.READWRITE,
}


class AuthService:
    """etcdserverpb.Auth."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    # Auth as a whole

    def enable(self, stream: Stream, caller: Caller, request: rpc.AuthEnableRequest) -> None:
        """From now on every caller must say who it is."""
        self._run(stream, caller, AuthEnable())

    def disable(self, stream: Stream, caller: Caller, request: rpc.AuthDisableRequest) -> None:
        """Serve everybody."""
        self._run(stream, caller, AuthDisable())

    def status(self, stream: Stream, caller: Caller, request: rpc.AuthStatusRequest) -> None:
        """Whether auth is on."""

        def respond(reply: Reply) -> bytes:
            assert isinstance(reply, AuthStatusReply)
            return rpc.AuthStatusResponse(enabled=reply.enabled, authRevision=reply.auth_revision).SerializeToString()

        self._backend.question(stream, caller, AskAuthStatus(), respond)

    def authenticate(self, stream: Stream, caller: Caller, request: rpc.AuthenticateRequest) -> None:
        """Give a token for a name and a password. Raises `Refusal`."""
        self._log_in(stream, request.name, request.password, MAX_TRIES)

    def _log_in(self, stream: Stream, name: str, password: str, tries: int) -> None:
        auth = self._backend.machine.auth
        if not auth.enabled:
            raise refused("authentication is not enabled")
        revision = auth.revision
        hash = auth.password_hash(name)
        if hash is None:
            raise refused(_FAILED)

        def checked(right: bool) -> None:
            if not right:
                self._backend.refuse(stream, refused(_FAILED))
                return
            token = self._backend.node.token()
            self._backend.requests.submit(encoder.encode(IssueToken(name, token, revision)), lambda a: issued(a, token))

        def issued(answer: Answer | Failure, token: str) -> None:
            if isinstance(answer, Answer):
                reply = reply_decoder.decode(answer.body)
                field = self._backend.headers.field(reply.revision)
                stream.respond(field + rpc.AuthenticateResponse(token=token).SerializeToString())
                return
            refusal = failed(answer)
            if refusal.text != refused("revision of auth store is old").text or tries <= 1:
                self._backend.refuse(stream, refusal)
                return
            try:
                self._log_in(stream, name, password, tries - 1)
            except Refusal as again:
                self._backend.refuse(stream, again)

        self._backend.node.check_password(password, hash, checked)

    # Users

    def user_add(self, stream: Stream, caller: Caller, request: rpc.AuthUserAddRequest) -> None:
        """A new user. Raises `Refusal`."""
        name, without = request.name, request.options.no_password
        if not name:
            raise refused("user name is empty")
        if without:
            self._run(stream, caller, UserAdd(name, b"", True))
            return
        self._hashed(stream, caller, request.password, request.hashedPassword, lambda hash: UserAdd(name, hash))

    def user_change_password(self, stream: Stream, caller: Caller, request: rpc.AuthUserChangePasswordRequest) -> None:
        """Another password. Raises `Refusal`."""
        name = request.name
        self._hashed(
            stream, caller, request.password, request.hashedPassword, lambda hash: UserChangePassword(name, hash)
        )

    def _hashed(
        self, stream: Stream, caller: Caller, password: str, given: str, make: Callable[[bytes], AuthCommand]
    ) -> None:
        """Run the command that has the password's hash. Raises `Refusal`."""
        if given:
            try:
                hash = base64.b64decode(given, validate=True)
            except binascii.Error:
                raise Refusal(Code.INVALID_ARGUMENT, "etcdserver: hashedPassword is not base64") from None
            self._run(stream, caller, make(hash))
            return
        if len(password.encode()) > MAX_BYTES:
            text = f"etcdserver: the password has {len(password.encode())} bytes, the limit is {MAX_BYTES}"
            raise Refusal(Code.INVALID_ARGUMENT, text)

        def then(hash: bytes) -> None:
            try:
                self._run(stream, caller, make(hash))
            except Refusal as refusal:
                self._backend.refuse(stream, refusal)

        self._backend.node.hash_password(password, then)

    def user_delete(self, stream: Stream, caller: Caller, request: rpc.AuthUserDeleteRequest) -> None:
        """A user less."""
        self._run(stream, caller, UserDelete(request.name))

    def user_grant_role(self, stream: Stream, caller: Caller, request: rpc.AuthUserGrantRoleRequest) -> None:
        """Give a user a role."""
        self._run(stream, caller, UserGrantRole(request.user, request.role))

    def user_revoke_role(self, stream: Stream, caller: Caller, request: rpc.AuthUserRevokeRoleRequest) -> None:
        """Take it."""
        self._run(stream, caller, UserRevokeRole(request.name, request.role))

    def user_get(self, stream: Stream, caller: Caller, request: rpc.AuthUserGetRequest) -> None:
        """A user's roles."""

        def respond(reply: Reply) -> bytes:
            assert isinstance(reply, NamesReply)
            return rpc.AuthUserGetResponse(roles=reply.names).SerializeToString()

        self._backend.question(stream, caller, AskUser(request.name), respond)

    def user_list(self, stream: Stream, caller: Caller, request: rpc.AuthUserListRequest) -> None:
        """All users."""

        def respond(reply: Reply) -> bytes:
            assert isinstance(reply, NamesReply)
            return rpc.AuthUserListResponse(users=reply.names).SerializeToString()

        self._backend.question(stream, caller, AskUsers(), respond)

    # Roles

    def role_add(self, stream: Stream, caller: Caller, request: rpc.AuthRoleAddRequest) -> None:
        """A new role."""
        self._run(stream, caller, RoleAdd(request.name))

    def role_delete(self, stream: Stream, caller: Caller, request: rpc.AuthRoleDeleteRequest) -> None:
        """A role less."""
        self._run(stream, caller, RoleDelete(request.role))

    def role_grant_permission(
        self, stream: Stream, caller: Caller, request: rpc.AuthRoleGrantPermissionRequest
    ) -> None:
        """Allow a role something. Raises `Refusal`."""
        perm = request.perm
        kind: PermissionKind | None = None
        if request.HasField("perm"):
            try:
                kind = PermissionKind(int(perm.permType))
            except ValueError:
                raise refused("permission not given") from None
        self._run(stream, caller, RoleGrantPermission(request.name, kind, perm.key, perm.range_end))

    def role_revoke_permission(
        self, stream: Stream, caller: Caller, request: rpc.AuthRoleRevokePermissionRequest
    ) -> None:
        """Allow it no longer."""
        self._run(stream, caller, RoleRevokePermission(request.role, request.key, request.range_end))

    def role_get(self, stream: Stream, caller: Caller, request: rpc.AuthRoleGetRequest) -> None:
        """What a role allows."""

        def respond(reply: Reply) -> bytes:
            assert isinstance(reply, RoleReply)
            perm = [authpb.Permission(permType=_TYPES[p.kind], key=p.key, range_end=p.end) for p in reply.permissions]
            return rpc.AuthRoleGetResponse(perm=perm).SerializeToString()

        self._backend.question(stream, caller, AskRole(request.role), respond)

    def role_list(self, stream: Stream, caller: Caller, request: rpc.AuthRoleListRequest) -> None:
        """All roles."""

        def respond(reply: Reply) -> bytes:
            assert isinstance(reply, NamesReply)
            return rpc.AuthRoleListResponse(roles=reply.names).SerializeToString()

        self._backend.question(stream, caller, AskRoles(), respond)

    def _run(self, stream: Stream, caller: Caller, command: AuthCommand) -> None:
        self._backend.run(stream, caller, encoder.encode(command), lambda _: NOTHING)
