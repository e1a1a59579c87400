"""What a user may not do is refused where it is applied, whatever it is wrapped in; with auth off nothing is."""

from __future__ import annotations

from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.machine.kv.auth.model import Model

from coterie.machine.interface import Batch, Rejected
from coterie.machine.kv import KeyValue
from coterie.machine.kv.auth.protocol import (
    AskAuthStatus,
    AskUsers,
    AuthDisable,
    AuthEnable,
    Authorised,
    AuthorisedQuestion,
    IssueToken,
    PermissionKind,
    RoleAdd,
    RoleGrantPermission,
    RoleRevokePermission,
    TouchToken,
    UserAdd,
    UserGrantRole,
)
from coterie.machine.kv.auth.tokens import TOKEN_NS
from coterie.machine.kv.protocol import (
    AlarmKind,
    AskAlarms,
    AskHash,
    Command,
    Compact,
    Compare,
    DeleteRange,
    Grant,
    KeepAlive,
    Leases,
    LeasesReply,
    Nested,
    Put,
    Question,
    Range,
    Relation,
    Reply,
    Revoke,
    SetAlarm,
    Target,
    TimeToLive,
    Txn,
    command_decoder,
    encoder,
    reply_decoder,
)

Operation: TypeAlias = Put | DeleteRange | Range | Nested
KEYS = st.sampled_from([b"a", b"b", b"b\0", b"c"])
ENDS = st.sampled_from([b"", b"", b"b", b"c", b"\0"])
PUTS = st.builds(Put, KEYS, st.just(b"v"), st.booleans())
DELETIONS = st.builds(DeleteRange, KEYS, ENDS, st.booleans())
RANGES = st.builds(Range, KEYS, ENDS)
COMPARES = st.builds(Compare, KEYS, st.just(Target.VERSION), st.just(Relation.GREATER), st.just(0), st.just(b""), ENDS)


def txns(operations: st.SearchStrategy[Operation]) -> st.SearchStrategy[Txn]:
    branches = st.lists(operations, max_size=2).map(tuple)
    return st.builds(Txn, st.lists(COMPARES, max_size=1).map(tuple), branches, branches)


LEAVES: st.SearchStrategy[Operation] = st.one_of(PUTS, DELETIONS, RANGES)
NESTED: st.SearchStrategy[Operation] = st.recursive(
    LEAVES, lambda below: txns(below).map(lambda txn: Nested(encoder.encode(txn))), max_leaves=6
)
PERMISSIONS = st.lists(
    st.builds(RoleGrantPermission, st.just("r"), st.sampled_from(PermissionKind), KEYS, ENDS), max_size=4
)
FOUNDATION: list[Command] = [
    UserAdd("root", b"h"),
    UserGrantRole("root", "root"),
    UserAdd("u", b"h"),
    RoleAdd("r"),
    UserGrantRole("u", "r"),
    Put(b"a", b"0"),
    Put(b"c", b"0"),
]


def run(machine: KeyValue, *commands: Command, time: int = 0) -> list[Reply | str]:
    bodies = [encoder.encode(command) for command in commands]
    replies = machine.apply(Batch(1, time, range(len(bodies)), bodies))
    return [r.reason if isinstance(r, Rejected) else reply_decoder.decode(r) for r in replies]


def ask(machine: KeyValue, question: Question) -> Reply | str:
    answer = machine.query(encoder.encode(question))
    return answer.reason if isinstance(answer, Rejected) else reply_decoder.decode(answer)


def by(machine: KeyValue, user: str, command: Command) -> Authorised:
    return Authorised(user, machine.auth.revision, encoder.encode(command))


def asked_by(machine: KeyValue, user: str, question: Question) -> AuthorisedQuestion:
    return AuthorisedQuestion(user, machine.auth.revision, encoder.encode(question))


def guarded(*permissions: RoleGrantPermission) -> KeyValue:
    machine = KeyValue()
    assert not [reply for reply in run(machine, *FOUNDATION, *permissions, AuthEnable()) if isinstance(reply, str)]
    return machine


def may(model: Model, operation: Operation | Txn) -> bool:
    """Whether `u` may do all of it, by the model."""
    if isinstance(operation, Nested):
        return may(model, nested(operation))
    if isinstance(operation, Txn):
        below = all(may(model, each) for each in operation.then + operation.otherwise)
        return below and all(not model.refuse("u", each.key, each.end, False) for each in operation.compares)
    if isinstance(operation, Range):
        return not model.refuse("u", operation.key, operation.end, False)
    end = operation.end if isinstance(operation, DeleteRange) else b""
    written = not model.refuse("u", operation.key, end, True)
    return written and not (operation.want_previous and model.refuse("u", operation.key, end, False))


def nested(operation: Nested) -> Txn:
    txn = command_decoder.decode(operation.txn)
    assert isinstance(txn, Txn)
    return txn


@given(PERMISSIONS, st.one_of(PUTS, DELETIONS, txns(NESTED)))
def test_a_command_is_refused_if_any_part_of_it_is_not_allowed_and_else_does_what_it_does_for_all(
    permissions: list[RoleGrantPermission], command: Put | DeleteRange | Txn
) -> None:
    machine, free = guarded(*permissions), KeyValue()
    run(free, *FOUNDATION)
    model = Model()
    for each in (*FOUNDATION, *permissions, AuthEnable()):
        if not isinstance(each, Put):
            model.run(each, 0)  # type: ignore[arg-type]  # all others are about auth
    before = machine.digest()
    (expected,) = run(free, command)
    (found,) = run(machine, by(machine, "u", command))
    if may(model, command) or expected == "duplicate key given in txn request":
        assert found == expected
    else:
        assert found == "permission denied"
        assert machine.digest() == before
    assert run(machine, by(machine, "root", command)) in ([expected], run(free, command))


@given(PERMISSIONS, RANGES)
def test_a_question_is_answered_if_all_of_its_range_may_be_read(
    permissions: list[RoleGrantPermission], question: Range
) -> None:
    machine = guarded(*permissions)
    model = Model()
    for each in (*FOUNDATION, *permissions, AuthEnable()):
        if not isinstance(each, Put):
            model.run(each, 0)  # type: ignore[arg-type]
    found = ask(machine, asked_by(machine, "u", question))
    assert (found == "permission denied") == (not may(model, question))


GRANT = RoleGrantPermission("r", PermissionKind.READWRITE, b"a")


def test_a_right_that_was_taken_away_earlier_in_the_log_is_gone_whatever_the_member_knew() -> None:
    machine = guarded(GRANT)
    known = by(machine, "u", Put(b"a", b"1"))
    question = asked_by(machine, "u", Range(b"a"))
    revoked = by(machine, "root", RoleRevokePermission("r", b"a"))
    first, _, late = run(machine, known, revoked, known)
    assert not isinstance(first, str)
    assert late == "revision of auth store is old"
    assert ask(machine, question) == "revision of auth store is old"
    assert run(machine, by(machine, "u", Put(b"a", b"1"))) == ["permission denied"]


def test_auth_that_goes_on_or_off_counts_for_the_next_command_of_the_same_batch() -> None:
    machine = KeyValue()
    enabling, first, second = run(machine, *FOUNDATION, AuthEnable(), Put(b"a", b"1"), Put(b"b", b"1"))[-3:]
    assert not isinstance(enabling, str)
    assert first == second == "user name is empty"
    disabled = run(machine, Put(b"a", b"1"), by(machine, "root", AuthDisable()), Put(b"a", b"1"), Put(b"b", b"1"))
    assert disabled[0] == "user name is empty"
    assert not any(isinstance(reply, str) for reply in disabled[1:])


def test_with_auth_off_a_wrapped_command_is_as_the_bare_one_whoever_is_said_to_ask() -> None:
    bare, wrapped = KeyValue(), KeyValue()
    commands: list[Command] = [*FOUNDATION, DeleteRange(b"a", b"\0", True), Compact(3)]
    assert run(bare, *commands) == run(wrapped, *[Authorised("nobody", 0, encoder.encode(each)) for each in commands])
    assert bare.digest() == wrapped.digest()
    assert ask(wrapped, AuthorisedQuestion("", 0, encoder.encode(Range(b"a")))) == ask(bare, Range(b"a"))


@pytest.mark.parametrize(
    "question",
    [Range(b"a"), Leases(), AskAlarms(), AskHash(), AskAuthStatus(), AskUsers()],
    ids=lambda q: type(q).__name__,
)
def test_no_question_is_answered_without_a_user(question: Question) -> None:
    assert ask(guarded(GRANT), question) == "user name is empty"
    assert ask(guarded(GRANT), AuthorisedQuestion("", 99, encoder.encode(question))) == "user name is empty"


@pytest.mark.parametrize(
    "command", [Compact(2), SetAlarm(1, AlarmKind.NOSPACE, True), AuthDisable()], ids=lambda c: type(c).__name__
)
def test_what_concerns_all_needs_root(command: Command) -> None:
    machine = guarded(GRANT)
    assert run(machine, by(machine, "u", command)) == ["permission denied"]
    assert run(machine, by(machine, "nobody", command)) == ["user name not found"]
    assert machine.auth.check_admin("root") is None
    assert machine.auth.check_admin("u") == Rejected("permission denied")


@pytest.mark.parametrize(
    "question", [AskAlarms(), AskHash(), AskAuthStatus(), AskUsers()], ids=lambda q: type(q).__name__
)
def test_questions_that_concern_all_need_root(question: Question) -> None:
    machine = guarded(GRANT)
    assert ask(machine, asked_by(machine, "u", question)) == "permission denied"


def test_a_user_cannot_wrap_what_only_members_say() -> None:
    for machine in (KeyValue(), guarded(GRANT)):
        for inner in (IssueToken("root", "t", 9), TouchToken("t"), by(machine, "root", Put(b"a", b""))):
            for user in ("u", "root"):
                (reply,) = run(machine, by(machine, user, inner))
                assert reply == "a command or question that only a member makes can't be asked for by a user"
        question = asked_by(machine, "root", asked_by(machine, "root", Range(b"a")))
        assert str(ask(machine, question)).startswith("a command or question that only a member makes")


def test_what_is_wrapped_and_no_command_is_refused() -> None:
    machine = guarded(GRANT)
    (reply,) = run(machine, Authorised("root", machine.auth.revision, b"\xc1"))
    assert str(reply).startswith("not a key-value command: ")
    answer = ask(machine, AuthorisedQuestion("root", machine.auth.revision, b"\xc1"))
    assert str(answer).startswith("not a key-value question: ")


def test_a_lease_is_as_closed_as_the_keys_that_are_attached_to_it() -> None:
    machine = guarded(
        RoleGrantPermission("r", PermissionKind.READWRITE, b"a"), RoleGrantPermission("r", PermissionKind.READ, b"b")
    )
    run(machine, *[by(machine, "root", Grant(lease, 60)) for lease in (1, 2, 3)])
    run(machine, *[by(machine, "root", Put(key, b"", lease=lease)) for lease, key in ((1, b"a"), (2, b"b"), (3, b"c"))])

    def refused(command: Command) -> bool:
        (reply,) = run(machine, by(machine, "u", command))
        assert reply == "permission denied" or not isinstance(reply, str)
        return isinstance(reply, str)

    assert [refused(TimeToLive(lease, True)) for lease in (1, 2, 3, 4)] == [False, False, True, False]
    assert [refused(Put(b"a", b"", lease=lease)) for lease in (1, 2, 3)] == [False, True, True]
    assert [refused(Txn((), (Put(b"a", b"", lease=lease),))) for lease in (1, 2, 3)] == [False, True, True]
    assert [refused(KeepAlive(lease)) for lease in (1, 2, 3)] == [False, False, False]
    assert [refused(Revoke(lease)) for lease in (1, 2, 3)] == [False, True, True]
    assert not refused(Grant(5, 60))
    assert ask(machine, asked_by(machine, "u", Leases())) == LeasesReply(machine.revision(), (2, 3, 5))


def test_a_token_lives_as_long_as_it_is_used_and_ends_by_cluster_time_alone() -> None:
    machine = guarded(GRANT)
    auth = machine.auth
    run(machine, IssueToken("u", "t", auth.revision), IssueToken("root", "s", auth.revision), time=100)
    assert machine.next_timer() == 100 + TOKEN_NS
    run(machine, TouchToken("t"), time=TOKEN_NS)
    machine.pass_time(7, 100 + TOKEN_NS)
    assert (auth.user_of_token("t", 100 + TOKEN_NS), auth.user_of_token("s", 100 + TOKEN_NS)) == ("u", None)
    assert machine.next_timer() == 2 * TOKEN_NS
    machine.pass_time(8, 2 * TOKEN_NS)
    assert machine.next_timer() is None
    assert run(machine, TouchToken("t"), time=2 * TOKEN_NS) == ["invalid auth token"]


def test_a_token_that_ends_while_the_cluster_is_said_to_be_corrupt_ends_no_lease_with_it() -> None:
    machine = guarded(GRANT)
    run(machine, IssueToken("u", "t", machine.auth.revision), by(machine, "root", Grant(7, 60)))
    run(machine, by(machine, "root", Put(b"a", b"", lease=7)))
    run(machine, by(machine, "root", SetAlarm(1, AlarmKind.CORRUPT, True)))
    assert machine.next_timer() == TOKEN_NS
    machine.pass_time(7, TOKEN_NS)
    assert (machine.auth.tokens, machine.next_timer()) == (0, None)
    assert ask(machine, asked_by(machine, "root", Leases())) == LeasesReply(machine.revision(), (7,))
    run(machine, by(machine, "root", SetAlarm(1, AlarmKind.NONE, False)))
    machine.pass_time(8, TOKEN_NS)
    assert ask(machine, asked_by(machine, "root", Leases())) == LeasesReply(machine.revision(), ())


@pytest.mark.parametrize("kind", [AlarmKind.NOSPACE, AlarmKind.CORRUPT])
def test_auth_is_managed_while_an_alarm_is_on(kind: AlarmKind) -> None:
    machine = guarded(GRANT)
    replies = run(
        machine,
        by(machine, "root", SetAlarm(1, kind, True)),
        IssueToken("u", "t", machine.auth.revision),
        by(machine, "root", UserAdd("v", b"h")),
    )
    assert not [reply for reply in replies if isinstance(reply, str)]
