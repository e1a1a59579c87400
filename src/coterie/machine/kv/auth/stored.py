"""Auth in the ordered store, and in snapshots.

| Key in the store | Value |
|---|---|
| `mu0` | `AuthState` |
| `mu1` name | `User` |
| `mu2` name | `Role` |
| `mu3` token | `TokenRecord` |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

import msgspec

from coterie.core.types import Nanos
from coterie.machine.kv.auth.roles import Role, User
from coterie.machine.stores.interface import Change, Reading, StoreFailed

AUTH, AUTH_END = b"mu", b"mv"
STATE, USERS, ROLES, TOKENS = b"mu0", b"mu1", b"mu2", b"mu3"


class AuthState(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """What is neither a user nor a role nor a token."""

    enabled: bool
    revision: int


class TokenRecord(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """A token."""

    token: str
    user: str
    deadline: Nanos


AuthRecord: TypeAlias = AuthState | User | Role | TokenRecord
_encode = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[AuthRecord] = msgspec.msgpack.Decoder(AuthRecord)


class AuthChanges:
    """What a flush has to bring to the store."""

    def __init__(self) -> None:
        self.state: AuthState | None = None
        """None: it is as it was."""
        self.users: dict[str, User | None] = {}
        self.roles: dict[str, Role | None] = {}
        self.tokens: dict[str, TokenRecord | None] = {}

    def __len__(self) -> int:
        return (self.state is not None) + len(self.users) + len(self.roles) + len(self.tokens)

    def changes(self) -> Iterator[Change]:
        """The same, for the store."""
        if self.state is not None:
            yield STATE, _encode(self.state)
        for prefix, changed in ((USERS, self.users), (ROLES, self.roles), (TOKENS, self.tokens)):
            for name, record in changed.items():
                yield prefix + name.encode(), None if record is None else _encode(record)


def changes_of(records: Iterable[AuthRecord]) -> Iterator[Change]:
    """All of auth, for an empty store."""
    for record in records:
        if isinstance(record, AuthState):
            yield STATE, _encode(record)
        elif isinstance(record, User):
            yield USERS + record.name.encode(), _encode(record)
        elif isinstance(record, Role):
            yield ROLES + record.name.encode(), _encode(record)
        else:
            yield TOKENS + record.token.encode(), _encode(record)


def stored_auth(view: Reading) -> Iterator[AuthRecord]:
    """What the store holds, in the order of `AuthStore.records`. Raises `StoreFailed`."""
    try:
        for _, value in view.range(AUTH, AUTH_END):
            yield _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreFailed(f"the machine's store is not readable: {error}") from error
