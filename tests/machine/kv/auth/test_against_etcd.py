"""Auth says what etcd 3.5 says: one script, step by step, to etcd through `etcdctl` and to the machine."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.etcd.real_etcd import RealEtcd

from coterie.machine.interface import Batch, Rejected
from coterie.machine.kv import KeyValue
from coterie.machine.kv.auth.protocol import (
    AskAuthStatus,
    AskRole,
    AskRoles,
    AskUser,
    AskUsers,
    AuthDisable,
    AuthEnable,
    Authorised,
    AuthorisedQuestion,
    AuthStatusReply,
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
from coterie.machine.kv.protocol import (
    Command,
    Compare,
    DeleteRange,
    Grant,
    Put,
    Question,
    Range,
    Relation,
    Revoke,
    Target,
    Txn,
    encoder,
    reply_decoder,
)

READ, WRITE, BOTH = PermissionKind.READ, PermissionKind.WRITE, PermissionKind.READWRITE
Step = tuple[str, str, Command | Question]
"""Who asks ('' nobody), etcdctl's arguments (after '<', its input), and the same for the machine."""

COMPARED = (Compare(b"k1", Target.VERSION, Relation.GREATER, 0),)
SCRIPT: list[Step] = [
    # before auth is on
    ("", "auth enable", AuthEnable()),
    ("", "auth disable", AuthDisable()),
    ("", "user add root:pw", UserAdd("root", b"h")),
    ("", "user add root:pw", UserAdd("root", b"h")),
    ("", "POST /v3/auth/enable", AuthEnable()),  # etcdctl would grant what is missing, and try again
    ("", "user grant-role root nothing", UserGrantRole("root", "nothing")),
    ("", "user grant-role nobody root", UserGrantRole("nobody", "root")),
    ("", "user grant-role root root", UserGrantRole("root", "root")),
    ("", "user grant-role root root", UserGrantRole("root", "root")),
    ("", "role get root", AskRole("root")),
    ("", "role add root", RoleAdd("root")),
    ("", "role get root", AskRole("root")),
    ("", "user add u:pw", UserAdd("u", b"h")),
    ("", "user add w:pw", UserAdd("w", b"h")),
    ("", "user add gone:pw", UserAdd("gone", b"h")),
    ("", "user add certified --no-password", UserAdd("certified", b"", True)),
    ("", "role add r", RoleAdd("r")),
    ("", "role add r", RoleAdd("r")),
    ("", "role add s", RoleAdd("s")),
    ("", "role add passing", RoleAdd("passing")),
    ("", "role delete nothing", RoleDelete("nothing")),
    ("", "role grant-permission nothing read k", RoleGrantPermission("nothing", READ, b"k")),
    ("", "role grant-permission r readwrite k1 k5", RoleGrantPermission("r", BOTH, b"k1", b"k5")),
    ("", "role grant-permission r read k5 k7", RoleGrantPermission("r", READ, b"k5", b"k7")),
    ("", "role grant-permission r write only", RoleGrantPermission("r", WRITE, b"only")),
    ("", "role grant-permission s read x --from-key", RoleGrantPermission("s", READ, b"x", b"\0")),
    ("", "role grant-permission s write p --prefix", RoleGrantPermission("s", WRITE, b"p", b"q")),
    ("", "role grant-permission s read p --prefix", RoleGrantPermission("s", READ, b"p", b"q")),
    ("", "role grant-permission passing read z", RoleGrantPermission("passing", READ, b"z")),
    ("", "role revoke-permission r k1", RoleRevokePermission("r", b"k1")),
    ("", "role revoke-permission nothing k1", RoleRevokePermission("nothing", b"k1")),
    ("", "user grant-role u r", UserGrantRole("u", "r")),
    ("", "user grant-role w s", UserGrantRole("w", "s")),
    ("", "user grant-role w passing", UserGrantRole("w", "passing")),
    ("", "user revoke-role u s", UserRevokeRole("u", "s")),
    ("", "user revoke-role nobody s", UserRevokeRole("nobody", "s")),
    ("", "user delete nobody", UserDelete("nobody")),
    ("", "user get nobody", AskUser("nobody")),
    ("", "user passwd nobody <x", UserChangePassword("nobody", b"h")),
    ("", "role get s", AskRole("s")),
    ("", "user get w", AskUser("w")),
    ("", "user list", AskUsers()),
    ("", "role list", AskRoles()),
    ("", "auth status", AskAuthStatus()),
    ("", "put k1 v", Put(b"k1", b"v")),
    ("", "put x v", Put(b"x", b"v")),
    ("", 'POST /v3/lease/grant {"ID": "7", "TTL": "600"}', Grant(7, 600)),
    ("", 'POST /v3/lease/grant {"ID": "8", "TTL": "600"}', Grant(8, 600)),
    ("", "put x1 v --lease 7", Put(b"x1", b"v", lease=7)),
    ("", "put k1 v --lease 8", Put(b"k1", b"v", lease=8)),
    ("", "auth enable", AuthEnable()),
    # from here on it is
    ("", "auth enable", AuthEnable()),
    ("", "auth disable", AuthDisable()),
    ("", "auth status", AskAuthStatus()),
    ("", "put k1 v", Put(b"k1", b"v")),
    ("", "get k1", Range(b"k1")),
    ("", "del k1", DeleteRange(b"k1")),
    ("", "user list", AskUsers()),
    ("root", "auth status", AskAuthStatus()),
    ("root", "auth enable", AuthEnable()),
    ("root", "put anything v", Put(b"anything", b"v")),
    ("root", "get k1", Range(b"k1")),
    ("root", "user delete root", UserDelete("root")),
    ("root", "user revoke-role root root", UserRevokeRole("root", "root")),
    ("root", "role delete root", RoleDelete("root")),
    ("u", "put k1 v", Put(b"k1", b"v")),
    ("u", "put k4 v", Put(b"k4", b"v")),
    ("u", "put k5 v", Put(b"k5", b"v")),
    ("u", "put k0 v", Put(b"k0", b"v")),
    ("u", "put only v", Put(b"only", b"v")),
    ("u", "put only v --prev-kv", Put(b"only", b"v", True)),
    ("u", "put k2 v --prev-kv", Put(b"k2", b"v", True)),
    ("u", "get k1", Range(b"k1")),
    ("u", "get k1 k7", Range(b"k1", b"k7")),
    ("u", "get k1 k8", Range(b"k1", b"k8")),
    ("u", "get k0 k2", Range(b"k0", b"k2")),
    ("u", "get only", Range(b"only")),
    ("u", "get k1 --from-key", Range(b"k1", b"\0")),
    ("u", "del k1 k5", DeleteRange(b"k1", b"k5")),
    ("u", "del k1 k6", DeleteRange(b"k1", b"k6")),
    ("u", "del only", DeleteRange(b"only")),
    ("u", "del only --prev-kv", DeleteRange(b"only", b"", True)),
    ("u", 'txn <ver("k1") > "0"\n\nput k2 a\n\nget k3\n\n', Txn(COMPARED, (Put(b"k2", b"a"),), (Range(b"k3"),))),
    ("u", 'txn <ver("k1") > "0"\n\nput k2 a\n\nput k5 a\n\n', Txn(COMPARED, (Put(b"k2", b"a"),), (Put(b"k5", b"a"),))),
    ("u", 'txn <ver("k1") > "0"\n\nget only\n\n\n', Txn(COMPARED, (Range(b"only"),))),
    (
        "u",
        'txn <ver("x") > "0"\n\nput k2 a\n\n\n',
        Txn((Compare(b"x", Target.VERSION, Relation.GREATER, 0),), (Put(b"k2", b"a"),)),
    ),
    ("u", "user list", AskUsers()),
    ("u", "user add more:pw", UserAdd("more", b"h")),
    ("u", "user get u", AskUser("u")),
    ("u", "user get w", AskUser("w")),
    ("u", "role get r", AskRole("r")),
    ("u", "role get s", AskRole("s")),
    ("u", "role list", AskRoles()),
    ("u", "role add more", RoleAdd("more")),
    ("u", "role grant-permission r readwrite a", RoleGrantPermission("r", BOTH, b"a")),
    ("u", "user grant-role u root", UserGrantRole("u", "root")),
    ("u", "auth disable", AuthDisable()),
    ("u", "auth status", AskAuthStatus()),
    # leases
    ("u", "put k2 v --lease 7", Put(b"k2", b"v", lease=7)),
    ("u", "put k2 v --lease 8", Put(b"k2", b"v", lease=8)),
    ("u", "put k2 v --lease 9", Put(b"k2", b"v", lease=9)),
    ("u", "lease revoke 7", Revoke(7)),
    ("u", "lease revoke 9", Revoke(9)),
    ("w", "lease revoke 8", Revoke(8)),
    ("u", "lease revoke 8", Revoke(8)),
    ("root", "lease revoke 7", Revoke(7)),
    ("w", "get x", Range(b"x")),
    ("w", "get y --from-key", Range(b"y", b"\0")),
    ("w", "get w --from-key", Range(b"w", b"\0")),
    ("w", "put x v", Put(b"x", b"v")),
    ("w", "get p --prefix", Range(b"p", b"q")),
    ("w", "put p1 v", Put(b"p1", b"v")),
    # what is granted and taken counts at once
    ("root", "role grant-permission r readwrite p1", RoleGrantPermission("r", BOTH, b"p1")),
    ("u", "put p1 v", Put(b"p1", b"v")),
    ("root", "role revoke-permission r p1", RoleRevokePermission("r", b"p1")),
    ("u", "put p1 v", Put(b"p1", b"v")),
    ("root", "role revoke-permission r k1 k5", RoleRevokePermission("r", b"k1", b"k5")),
    ("u", "get k1 k7", Range(b"k1", b"k7")),
    ("root", "role delete passing", RoleDelete("passing")),
    ("root", "user get w", AskUser("w")),
    ("root", "role delete r", RoleDelete("r")),
    ("u", "get k5", Range(b"k5")),
    ("root", "user grant-role u root", UserGrantRole("u", "root")),
    ("u", "put k5 v", Put(b"k5", b"v")),
    ("root", "user revoke-role u root", UserRevokeRole("u", "root")),
    ("u", "put k5 v", Put(b"k5", b"v")),
    ("root", "user delete gone", UserDelete("gone")),
    ("root", "user list", AskUsers()),
    ("root", "role list", AskRoles()),
    ("root", "auth status", AskAuthStatus()),
    ("root", "auth disable", AuthDisable()),
    ("", "put k1 v", Put(b"k1", b"v")),
    ("", "auth status", AskAuthStatus()),
    ("", "user delete root", UserDelete("root")),
]
_QUESTIONS = (AskAuthStatus, AskRole, AskRoles, AskUser, AskUsers)


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealEtcd]:
    with RealEtcd(tmp_path_factory.mktemp("etcd") / "data") as started:
        yield started


def etcds_answer(etcd: RealEtcd, user: str, words: str) -> str:
    """Its refusal, without what comes before it; or what it says in answer to a question."""
    if words.startswith("POST "):
        path, _, body = words[5:].partition(" ")
        return posted(f"http://{etcd.client}{path}", body or "{}")
    arguments, _, stdin = words.partition("<")
    etcd.user = f"{user}:pw" if user else ""
    plain = arguments.split()
    if "passwd" in plain:
        plain.append("--interactive=false")
    done = etcd.run(*plain, stdin=stdin.encode())
    if not done.returncode:
        return done.stdout.decode()
    found = re.search(r'etcdserver: ([^")}\n]*)', done.stderr.decode())
    assert found is not None, done.stderr.decode()
    return "refused: " + found[1]


def posted(url: str, body: str) -> str:
    """etcd's refusal of a request, or nothing."""
    try:
        with urllib.request.urlopen(url, body.encode(), timeout=10):
            return ""
    except urllib.error.HTTPError as answer:
        with answer:
            return "refused: " + str(json.load(answer)["error"]).removeprefix("etcdserver: ")


def machines_answer(machine: KeyValue, user: str, body: Command | Question, index: int) -> str:
    """Alike: what the question's answer says is put in etcdctl's words."""
    encoded = encoder.encode(body)
    revision = machine.auth.revision
    if isinstance(body, (*_QUESTIONS, Range)):
        if user:
            encoded = encoder.encode(AuthorisedQuestion(user, revision, encoded))
        answer = machine.query(encoded)
    else:
        if user:
            encoded = encoder.encode(Authorised(user, revision, encoded))
        (answer,) = machine.apply(Batch(index, index, (0,), (encoded,)))
    if isinstance(answer, Rejected):
        return "refused: " + answer.reason
    reply = reply_decoder.decode(answer)
    if isinstance(reply, AuthStatusReply):
        return f"Authentication Status: {str(reply.enabled).lower()}\nAuthRevision: {reply.auth_revision}\n"
    if isinstance(reply, NamesReply):
        if isinstance(body, AskUser):
            return f"User: {body.name}\nRoles:" + "".join(f" {name}" for name in reply.names) + "\n"
        return "".join(f"{name}\n" for name in reply.names)
    if isinstance(reply, RoleReply):
        assert isinstance(body, AskRole)
        return role_text(body.name, reply)
    return "done"


def role_text(role: str, reply: RoleReply) -> str:
    def lines(*kinds: PermissionKind) -> str:
        return "".join(f"\t{keys_text(each.key, each.end)}\n" for each in reply.permissions if each.kind in kinds)

    return f"Role {role}\nKV Read:\n{lines(READ, BOTH)}KV Write:\n{lines(WRITE, BOTH)}"


def keys_text(key: bytes, end: bytes) -> str:
    """As etcdctl shows it."""
    if not end:
        return key.decode()
    if end == b"\0":
        return f"[{key.decode()}, <open ended>"
    prefix = f" (prefix {key.decode()})" if key and end == key[:-1] + bytes([key[-1] + 1]) else ""
    return f"[{key.decode()}, {end.decode()}){prefix}"


def test_every_step_of_the_script_is_answered_as_etcd_answers_it(etcd: RealEtcd, tmp_path: Path) -> None:
    machine = KeyValue()
    different = []
    refusals = set()
    for index, (user, words, body) in enumerate(SCRIPT, 1):
        theirs, ours = etcds_answer(etcd, user, words), machines_answer(machine, user, body, index)
        if ours == "done" and not theirs.startswith("refused: "):
            continue
        if isinstance(body, Range) and not theirs.startswith("refused: "):
            continue
        refusals.add(ours)
        if theirs != ours:
            different.append((index, user, words, theirs, ours))
    assert not different, "\n".join(map(repr, different))
    assert len(refusals) > 12
