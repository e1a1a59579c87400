"""The auth store: who there is, what they may do, and who is known by which token."""

from __future__ import annotations

from collections.abc import Iterable

from coterie.core.types import Nanos
from coterie.machine.interface import Rejected
from coterie.machine.kv.auth.refusals import OLD_REVISION, PERMISSION_DENIED, USER_EMPTY, USER_NOT_FOUND
from coterie.machine.kv.auth.roles import Reach, Role, User, reach_of
from coterie.machine.kv.auth.stored import AuthChanges, AuthRecord, AuthState, TokenRecord, stored_auth
from coterie.machine.kv.auth.tokens import MAX_ENDED, TOKEN_NS, Token, TokenTable
from coterie.machine.stores.interface import Reading, StoreFailed

FIRST_REVISION = 1
"""Of auth that nobody has touched, as in etcd."""


class AuthStore:
    """All of auth. What `commands.py` does not use is for the member that serves: it may look at any time."""

    def __init__(self, records: Iterable[AuthRecord] = (), *, stored: bool = False) -> None:
        """`stored`: changes are to be gathered for a store. Raises `ValueError` if there can be no such auth."""
        self.enabled = False
        self.revision = FIRST_REVISION
        """One more with every change, tokens apart."""
        self.users: dict[str, User] = {}
        self.roles: dict[str, Role] = {}
        self._reaches: dict[str, Reach] = {}
        """Of the users that asked for something lately."""
        tokens: dict[str, Token] = {}
        for record in records:
            if isinstance(record, AuthState):
                self.enabled, self.revision = record.enabled, record.revision
            elif isinstance(record, User):
                self.users[record.name] = record
            elif isinstance(record, Role):
                self.roles[record.name] = record
            else:
                tokens[record.token] = Token(record.user, record.deadline)
        self._tokens = TokenTable(tokens.items())
        self._changed = AuthChanges() if stored else None
        self._check()

    def _check(self) -> None:
        """Raise `ValueError` if commands could not have made this."""
        if self.revision < FIRST_REVISION:
            raise ValueError(f"the snapshot has revision {self.revision} of auth")
        if self.enabled and self.refuse_admin("root") is not None:
            raise ValueError("the snapshot has auth on, and no user root with the role root")
        for token in self._tokens.tokens.values():
            if token.user not in self.users:
                raise ValueError(f"the snapshot has a token of the user {token.user!r}, who is not in it")

    # For the member that serves, in its process: what is answered here must not go to a client

    def password_hash(self, user: str) -> bytes | None:
        """What a password is checked against; None: there is no such user, or they have no password. Take
        `revision` *before* it, for `IssueToken`."""
        found = self.users.get(user)
        return None if found is None or found.no_password else found.password_hash

    def user_of_token(self, token: str, time: Nanos) -> str | None:
        """Who shows this token at this cluster time; None: it is not known, or has ended."""
        found = self._tokens.tokens.get(token)
        return None if found is None or found.deadline <= time else found.user

    def wants_touch(self, token: str, time: Nanos) -> bool:
        """Whether `TouchToken` is worth a log entry: half of the token's time is over."""
        found = self._tokens.tokens.get(token)
        return found is not None and found.deadline - time < TOKEN_NS // 2

    def check_range(self, user: str, key: bytes, end: bytes = b"") -> Rejected | None:
        """Why the user may not read this, or None. Also for watches, at their beginning and whenever `revision` has
        changed."""
        return self._refuse(user, key, end, write=False)

    def check_put(self, user: str, key: bytes) -> Rejected | None:
        """Why the user may not write the key, or None."""
        return self._refuse(user, key, b"", write=True)

    def check_delete(self, user: str, key: bytes, end: bytes = b"") -> Rejected | None:
        """Why the user may not delete this, or None."""
        return self._refuse(user, key, end, write=True)

    def check_admin(self, user: str) -> Rejected | None:
        """Why the user may not do what needs the role root (members, maintenance), or None."""
        return self.refuse_admin(user) if self.enabled else None

    def check_revision(self, user: str, revision: int) -> Rejected | None:
        """Why what was found out about the user at this revision of auth does not hold any more, or None."""
        if not self.enabled:
            return None
        if not user:
            return USER_EMPTY
        return OLD_REVISION if revision < self.revision else None

    # What is allowed

    def _refuse(self, user: str, key: bytes, end: bytes, *, write: bool) -> Rejected | None:
        if not self.enabled:
            return None
        if not user:
            return USER_EMPTY
        found = self.users.get(user)
        if found is None:
            return PERMISSION_DENIED
        if found.root:
            return None
        reach = self._reaches.get(user)
        if reach is None:
            reach = self._reaches[user] = reach_of(found, self.roles)
        return None if (reach.write if write else reach.read).covers(key, end) else PERMISSION_DENIED

    def refuse_admin(self, user: str) -> Rejected | None:
        """`check_admin`, as if auth were on."""
        if not user:
            return USER_EMPTY
        found = self.users.get(user)
        if found is None:
            return USER_NOT_FOUND
        return None if found.root else PERMISSION_DENIED

    # Changes

    def set_user(self, user: User) -> None:
        """Add or replace."""
        self.users[user.name] = user
        self._changing(user.name)
        if self._changed is not None:
            self._changed.users[user.name] = user

    def delete_user(self, name: str) -> None:
        """The user is there."""
        del self.users[name]
        self._changing(name)
        if self._changed is not None:
            self._changed.users[name] = None
        self.end_tokens(name)

    def set_role(self, role: Role) -> None:
        """Add or replace."""
        self.roles[role.name] = role
        self._changing(None)
        if self._changed is not None:
            self._changed.roles[role.name] = role

    def delete_role(self, name: str) -> None:
        """The role is there."""
        del self.roles[name]
        self._changing(None)
        if self._changed is not None:
            self._changed.roles[name] = None

    def set_state(self, *, enabled: bool, revision: int) -> None:
        """What is neither a user nor a role nor a token."""
        self.enabled, self.revision = enabled, revision
        if self._changed is not None:
            self._changed.state = AuthState(enabled, revision)

    def _changing(self, user: str | None) -> None:
        """What this user may do (None: what anyone may) is to be found out anew."""
        if user is None:
            self._reaches.clear()
        else:
            self._reaches.pop(user, None)

    # Tokens

    @property
    def tokens(self) -> int:
        """How many there are."""
        return len(self._tokens.tokens)

    def token(self, name: str) -> Token | None:
        """What the token stands for, ended or not."""
        return self._tokens.tokens.get(name)

    def set_token(self, name: str, user: str, now: Nanos) -> None:
        """A new token, or a used one."""
        self._tokens.set(name, user, now)
        self._note_token(name)

    def end_tokens(self, user: str | None) -> None:
        """Those of the user, or all."""
        for name in [name for name, token in self._tokens.tokens.items() if user in (None, token.user)]:
            self._tokens.end(name)
            self._note_token(name)

    def next_end(self) -> Nanos | None:
        """Cluster time at which the next token ends."""
        found = self._tokens.next_end()
        return None if found is None else found[1].deadline

    def pass_time(self, now: Nanos) -> None:
        """End the tokens that are due, `MAX_ENDED` at most."""
        for _ in range(MAX_ENDED):
            found = self._tokens.next_end()
            if found is None or found[1].deadline > now:
                return
            self._tokens.end(found[0])
            self._note_token(found[0])

    def _note_token(self, name: str) -> None:
        if self._changed is not None:
            token = self._tokens.tokens.get(name)
            self._changed.tokens[name] = None if token is None else TokenRecord(name, token.user, token.deadline)

    # In and out

    def records(self) -> list[AuthRecord]:
        """All of it, in an order that depends on the state alone; nothing, if nobody has touched it."""
        found: list[AuthRecord] = []
        if self.enabled or self.revision != FIRST_REVISION:
            found.append(AuthState(self.enabled, self.revision))
        found += [user for _, user in sorted(self.users.items())]
        found += [role for _, role in sorted(self.roles.items())]
        found += [TokenRecord(name, token.user, token.deadline) for name, token in sorted(self._tokens.tokens.items())]
        return found

    @property
    def unflushed(self) -> int:
        """Changes that a flush would bring to the store."""
        return 0 if self._changed is None else len(self._changed)

    def take_changes(self) -> AuthChanges:
        """What changed since the last call."""
        assert self._changed is not None, "auth is in memory"
        changes, self._changed = self._changed, AuthChanges()
        return changes


def read_auth(view: Reading) -> AuthStore:
    """Auth as it is in the store. Raises `StoreFailed`."""
    try:
        return AuthStore(stored_auth(view), stored=True)
    except ValueError as error:
        raise StoreFailed(f"the machine's store is not readable: {error}") from error
