"""The auth store does what a naive model does, and is the same after a flush and after a snapshot."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.machine.kv.auth.model import TOKEN_NS, Model

from coterie.machine.kv.auth.commands import run_auth
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
from coterie.machine.kv.auth.store import AuthStore
from coterie.machine.kv.auth.stored import changes_of, stored_auth
from coterie.machine.stores import MemoryStore

USERS = st.sampled_from(["root", "u", "v", "w", ""])
ROLES = st.sampled_from(["root", "r", "s", ""])
KEYS = st.sampled_from([b"a", b"b", b"b\0", b"c", b"d", b"\0", b""])
ENDS = st.sampled_from([b"", b"", b"\0", b"a", b"b", b"b\0", b"c", b"d", b"e"])
TOKENS = st.sampled_from(["t1", "t2", "t3"])
COMMANDS: st.SearchStrategy[AuthCommand] = st.one_of(
    st.just(AuthEnable()),
    st.just(AuthDisable()),
    st.builds(UserAdd, USERS, st.sampled_from([b"h1", b"h2"]), st.booleans()),
    st.builds(UserDelete, USERS),
    st.builds(UserChangePassword, USERS, st.sampled_from([b"h3", b""])),
    st.builds(UserGrantRole, USERS, ROLES),
    st.builds(UserGrantRole, USERS, ROLES),
    st.builds(UserRevokeRole, USERS, ROLES),
    st.builds(RoleAdd, ROLES),
    st.builds(RoleDelete, ROLES),
    *[st.builds(RoleGrantPermission, ROLES, st.sampled_from([None, *PermissionKind] * 2), KEYS, ENDS)] * 3,
    st.builds(RoleRevokePermission, ROLES, KEYS, ENDS),
)
FOUNDATION: list[AuthCommand] = [UserAdd("root", b"h"), UserGrantRole("root", "root"), AuthEnable(), UserAdd("u", b"h")]


class Comparison(RuleBasedStateMachine):
    """Each step goes to the store and to the model."""

    def __init__(self) -> None:
        super().__init__()
        self.auth = AuthStore(stored=True)
        self.model = Model()
        self.disk = MemoryStore()
        self.now = 0

    def run(self, command: AuthCommand) -> None:
        before = (self.auth.records(), self.auth.revision)
        refused = run_auth(self.auth, command, self.now)
        expected = self.model.run(command, self.now)
        assert (None if refused is None else refused.reason) == expected
        if expected is not None:
            assert (self.auth.records(), self.auth.revision) == before

    @rule(commands=st.lists(COMMANDS, min_size=1, max_size=8))
    def commands(self, commands: list[AuthCommand]) -> None:
        for command in commands:
            self.run(command)

    @rule()
    def lay_the_foundation(self) -> None:
        for command in FOUNDATION:
            self.run(command)

    @rule(user=USERS, token=TOKENS, late=st.integers(0, 1))
    def issue(self, user: str, token: str, late: int) -> None:
        self.run(IssueToken(user, token, self.auth.revision - late))

    @rule(token=TOKENS)
    def touch(self, token: str) -> None:
        self.run(TouchToken(token))

    @rule(elapsed=st.sampled_from([1, TOKEN_NS // 2, TOKEN_NS - 1, TOKEN_NS]))
    def time_passes(self, elapsed: int) -> None:
        self.now += elapsed
        next_end = self.auth.next_end()
        assert next_end == min((deadline for _, deadline in self.model.tokens.values()), default=None)
        if next_end is not None and next_end <= self.now:
            self.auth.pass_time(self.now)
        self.model.pass_time(self.now)

    @rule(user=USERS, key=KEYS, end=ENDS)
    def ask_what_is_allowed(self, user: str, key: bytes, end: bytes) -> None:
        auth, model = self.auth, self.model
        for refused, expected in (
            (auth.check_range(user, key, end), model.refuse(user, key, end, False)),
            (auth.check_delete(user, key, end), model.refuse(user, key, end, True)),
            (auth.check_put(user, key), model.refuse(user, key, b"", True)),
        ):
            assert (None if refused is None else refused.reason) == expected

    @rule()
    def flush(self) -> None:
        self.disk.write(self.auth.take_changes().changes())
        assert self.auth.unflushed == 0
        view = self.disk.view()
        assert list(stored_auth(view)) == self.auth.records()
        view.close()

    @rule()
    def restart(self) -> None:
        """From what a snapshot holds, by the disk or at once."""
        filled = MemoryStore()
        filled.write(changes_of(self.auth.records()))
        view = filled.view()
        again = AuthStore(stored_auth(view), stored=True)
        view.close()
        assert again.records() == AuthStore(self.auth.records()).records() == self.auth.records()
        self.auth, self.disk = again, filled

    @invariant()
    def the_same_is_known(self) -> None:
        auth, model = self.auth, self.model
        assert (auth.enabled, auth.revision) == (model.enabled, model.revision)
        assert {name: (auth.password_hash(name), set(user.roles)) for name, user in auth.users.items()} == {
            name: (user.password, user.roles) for name, user in model.users.items()
        }
        assert {
            name: {(each.key, each.end): each.kind for each in role.permissions} for name, role in auth.roles.items()
        } == model.roles
        for token in ("t1", "t2", "t3"):
            known = model.tokens.get(token)
            assert auth.user_of_token(token, self.now) == (known and known[0])
            assert auth.wants_touch(token, self.now) == (known is not None and known[1] - self.now < TOKEN_NS // 2)


TestComparison = Comparison.TestCase
TestComparison.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
