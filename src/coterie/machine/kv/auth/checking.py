"""What a user's command or question needs to be allowed, as the state is when it runs (etcd: apply_auth.go).

Stricter than etcd 3.5.1 in this: nested transactions are looked into, at every depth and on both branches; puts
in transactions are asked what puts alone are asked (the previous value, the lease); compactions and alarms need the
role root; every command needs a user. As in etcd since 3.5.8, who asks for a lease's time must be allowed to read its
keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from coterie.machine.interface import Rejected
from coterie.machine.kv.auth.protocol import AskRole, AskUser
from coterie.machine.kv.auth.store import AuthStore
from coterie.machine.kv.plans import Plan, plan_of
from coterie.machine.kv.protocol import (
    Command,
    DeleteRange,
    Grant,
    KeepAlive,
    Leases,
    Put,
    Question,
    Range,
    Revoke,
    TimeToLive,
    Txn,
)

KeysOfLease: TypeAlias = Callable[[int], Iterable[bytes]]
"""The keys that are attached to a lease; none if there is no such lease."""


def refuse_command(auth: AuthStore, keys_of: KeysOfLease, user: str, command: Command) -> Rejected | None:
    """Why the user may not do this, or None. Auth is on."""
    if isinstance(command, Put | DeleteRange):
        return _Check(auth, keys_of, user).operation(command)
    if isinstance(command, Txn):
        plan = plan_of(command)
        # one that can't run whatever the store holds tells that to anyone, as in etcd
        return None if isinstance(plan, Rejected) else _Check(auth, keys_of, user).plan(plan)
    if isinstance(command, Revoke):
        return _Check(auth, keys_of, user).lease(command.lease, write=True)
    if isinstance(command, TimeToLive):
        return _Check(auth, keys_of, user).lease(command.lease, write=False)
    if isinstance(command, Grant | KeepAlive):
        return None
    return auth.check_admin(user)


def refuse_question(auth: AuthStore, user: str, question: Question) -> Rejected | None:
    """Why the user may not ask this, or None. Auth is on."""
    if isinstance(question, Range):
        return auth.check_range(user, question.key, question.end) if question.key else None
    if isinstance(question, Leases):
        return None
    if isinstance(question, AskUser) and question.name == user:
        return None
    if isinstance(question, AskRole) and user in auth.users and question.name in auth.users[user].roles:
        return None
    return auth.check_admin(user)


class _Check:
    """Looks at what one user's command reads and writes."""

    def __init__(self, auth: AuthStore, keys_of: KeysOfLease, user: str) -> None:
        self._auth = auth
        self._keys_of = keys_of
        self._user = user

    def plan(self, plan: Plan) -> Rejected | None:
        """Comparisons read; both branches count, whichever will run."""
        for compare in plan.compares:
            refused = self._auth.check_range(self._user, compare.key, compare.end)
            if refused is not None:
                return refused
        for branch in (plan.then, plan.otherwise):
            for operation in branch:
                refused = self.plan(operation) if isinstance(operation, Plan) else self.operation(operation)
                if refused is not None:
                    return refused
        return None

    def operation(self, operation: Put | DeleteRange | Range) -> Rejected | None:
        """One without a key is refused for that, by what runs it."""
        auth, user, key = self._auth, self._user, operation.key
        if not key:
            return None
        if isinstance(operation, Range):
            return auth.check_range(user, key, operation.end)
        if isinstance(operation, DeleteRange):
            refused = auth.check_delete(user, key, operation.end)
            if refused is None and operation.want_previous:
                refused = auth.check_range(user, key, operation.end)
            return refused
        # Who attaches a key to a lease could not revoke that lease if it had keys that they may not write.
        refused = auth.check_put(user, key) or self.lease(operation.lease, write=True)
        if refused is None and operation.want_previous:
            refused = auth.check_range(user, key)
        return refused

    def lease(self, lease: int, *, write: bool) -> Rejected | None:
        """All keys that are attached to it."""
        check = self._auth.check_put if write else self._auth.check_range
        for key in self._keys_of(lease) if lease else ():
            refused = check(self._user, key)
            if refused is not None:
                return refused
        return None
