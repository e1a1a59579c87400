from __future__ import annotations

import pytest

from coterie.machine.kv.auth.commands import run_auth
from coterie.machine.kv.auth.protocol import (
    AskAuthStatus,
    AskUsers,
    AuthCommand,
    AuthEnable,
    Authorised,
    AuthorisedQuestion,
    IssueToken,
    PermissionKind,
    RoleAdd,
    RoleGrantPermission,
    TouchToken,
    UserAdd,
    UserChangePassword,
    UserGrantRole,
    for_members_alone,
)
from coterie.machine.kv.auth.roles import MAX_ROLE_BYTES, User
from coterie.machine.kv.auth.store import AuthStore
from coterie.machine.kv.auth.stored import AuthState, TokenRecord
from coterie.machine.kv.auth.tokens import MAX_ENDED, MAX_TOKENS, TOKEN_NS
from coterie.machine.kv.protocol import Put, Range, encoder


def enabled() -> AuthStore:
    auth = AuthStore()
    for command in (UserAdd("root", b"h"), UserGrantRole("root", "root"), AuthEnable()):
        assert run_auth(auth, command, 0) is None
    return auth


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (UserAdd("n" * 1025, b""), "the name has 1025 bytes, the limit is 1024"),
        (UserAdd("é" * 513, b""), "the name has 1026 bytes"),
        (RoleAdd("n" * 1025), "the name has 1025 bytes"),
        (UserAdd("u", b"h" * 1025), "the password's hash has 1025 bytes, the limit is 1024"),
        (UserChangePassword("root", b"h" * 1025), "the password's hash has 1025 bytes"),
        (IssueToken("root", "", 9), "a token has 1 to 256 bytes, not 0"),
        (IssueToken("root", "t" * 257, 9), "a token has 1 to 256 bytes, not 257"),
    ],
)
def test_what_is_too_long_is_refused_with_its_length_and_the_limit(command: AuthCommand, reason: str) -> None:
    auth = enabled()
    before = auth.records()
    refused = run_auth(auth, command, 0)
    assert refused is not None
    assert reason in refused.reason
    assert auth.records() == before


def test_a_roles_permissions_are_bounded_together() -> None:
    auth = enabled()
    run_auth(auth, RoleAdd("r"), 0)
    size = MAX_ROLE_BYTES // 16
    for i in range(15):
        assert run_auth(auth, RoleGrantPermission("r", PermissionKind.READ, b"%02d" % i * (size // 2)), 0) is None
    refused = run_auth(auth, RoleGrantPermission("r", PermissionKind.READ, b"k" * size), 0)
    assert refused is not None
    assert refused.reason.startswith("the role's permissions have 1049")


def test_tokens_are_bounded_and_end_a_part_at_a_time() -> None:
    auth = enabled()
    for i in range(MAX_TOKENS):
        assert run_auth(auth, IssueToken("root", f"t{i}", auth.revision), i) is None
    refused = run_auth(auth, IssueToken("root", "one more", auth.revision), 0)
    assert refused is not None
    assert f"there are {MAX_TOKENS} tokens in use" in refused.reason
    auth.pass_time(TOKEN_NS + MAX_TOKENS)
    assert auth.tokens == MAX_TOKENS - MAX_ENDED
    assert auth.next_end() == TOKEN_NS + MAX_ENDED
    assert auth.user_of_token(f"t{MAX_ENDED}", TOKEN_NS + MAX_ENDED) is None  # not dropped yet, ended all the same


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        ([AuthState(True, 3)], "auth on, and no user root"),
        ([AuthState(True, 3), User("root", b"")], "auth on, and no user root with the role root"),
        ([AuthState(False, 0)], "revision 0 of auth"),
        ([TokenRecord("t", "nobody", 1)], "a token of the user 'nobody'"),
    ],
)
def test_records_that_no_commands_could_have_made_are_refused(
    records: list[AuthState | User | TokenRecord], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        AuthStore(records)


def test_what_a_client_may_not_say_itself_is_known_by_its_bytes() -> None:
    inner = encoder.encode(Put(b"a", b""))
    for alone in (
        IssueToken("root", "t", 1),
        TouchToken("t"),
        Authorised("root", 9, inner),
        AuthorisedQuestion("root", 9, encoder.encode(AskUsers())),
    ):
        assert for_members_alone(encoder.encode(alone))
    for common in (Put(b"a", b""), Range(b"a"), AuthEnable(), UserAdd("u", b"h"), AskAuthStatus()):
        assert not for_members_alone(encoder.encode(common))
    for nothing in (b"", b"\x90", b"\x91\xa1x", b"\xc1", b"\x2b"):
        assert not for_members_alone(nothing)
    # however the array's length or the tag's number is written: msgpack knows several ways
    for other in (
        b"\xdc\x00\x02\x2a\xa1t",
        b"\xdd\x00\x00\x00\x02\x2a\xa1t",
        b"\x92\xcc\x2a\xa1t",
        b"\x92\xd1\x00\x2a\xa1t",
    ):
        assert for_members_alone(other)
