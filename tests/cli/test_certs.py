"""`coterie certs`: what it makes, and what it never does."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from coterie.cli.authority import DEFAULT_HOSTS, Authority, AuthorityError
from coterie.runtime.tls.files import TlsFiles, examine

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "coterie", "certs", *arguments]
    environment = {"PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=60)


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def files(directory: Path, name: str) -> TlsFiles:
    return TlsFiles(
        cert=str(directory / f"{name}.crt"), key=str(directory / f"{name}.key"), ca=str(directory / "ca.crt")
    )


def test_the_command_makes_what_a_node_and_a_client_take_and_says_what_it_made(tmp_path: Path) -> None:
    made = run(str(tmp_path / "tls"), "--nodes", "a,b", "--host", "a=10.0.0.1", "--host", "db.example", "--json")
    assert made.returncode == 0, made.stderr
    told = json.loads(made.stdout)
    assert told["made"] == ["ca", "a", "b", "client"]
    assert {each["name"]: each["hosts"] for each in told["certificates"]} == {
        "ca": [],
        "a": ["a", "10.0.0.1", "db.example"],
        "b": ["b", "db.example"],
        "client": [],
    }
    for name in ("a", "b"):
        assert examine(files(tmp_path / "tls", name), member=name, client=True).hints == ()
    assert examine(files(tmp_path / "tls", "client"), server=False, client=True).hints == ()


def test_keys_are_for_their_owner_alone_and_the_directory_too(tmp_path: Path) -> None:
    Authority(tmp_path / "tls").make({"a": DEFAULT_HOSTS}, ["client"])
    assert stat.S_IMODE((tmp_path / "tls").stat().st_mode) == 0o700
    for path in (tmp_path / "tls").glob("*.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_nothing_is_replaced_unasked_and_the_ca_never(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.make({"a": DEFAULT_HOSTS}, ["client"])
    before = contents(tmp_path)
    with pytest.raises(AuthorityError, match=r"a\.crt is there already"):
        authority.make({"a": DEFAULT_HOSTS, "b": DEFAULT_HOSTS}, [])
    assert contents(tmp_path) == before
    authority.make({"a": DEFAULT_HOSTS}, [], force=True)
    changed = {name for name, content in contents(tmp_path).items() if content != before[name]}
    assert changed == {"a.crt", "a.key"}


def test_half_a_ca_is_not_taken_for_none(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("somebody's")
    with pytest.raises(AuthorityError, match="its other half is not"):
        Authority(tmp_path).make({"a": DEFAULT_HOSTS}, [])
    assert contents(tmp_path) == {"ca.crt": b"somebody's"}


def test_a_later_member_gets_its_pair_from_the_same_ca(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.make({"a": DEFAULT_HOSTS}, [])
    assert authority.make({"b": DEFAULT_HOSTS}, []) == ["b"]
    verified = subprocess.run(
        [sys.executable, "-c", VERIFY, str(tmp_path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert verified.returncode == 0, verified.stderr


VERIFY = """
import sys
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store
at = lambda name: x509.load_pem_x509_certificate(open(f"{sys.argv[1]}/{name}.crt", "rb").read())
policy = PolicyBuilder().store(Store([at("ca")]))
for name in "ab":
    policy.build_server_verifier(x509.DNSName("localhost")).verify(at(name), [])
    policy.build_client_verifier().verify(at(name), [])
"""
"""A second opinion, stricter than OpenSSL's (RFC 5280 and the web's rules)."""


def test_renewing_keeps_the_names_and_the_ca_and_changes_every_key(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.make({"a": ["10.0.0.1"], "b": ["db.example"]}, ["client"], days=3)
    before, described = contents(tmp_path), authority.describe()
    assert authority.renew(days=90) == ["a", "b", "client"]
    after = contents(tmp_path)
    assert {name for name in after if after[name] == before[name]} == {"ca.crt", "ca.key"}
    renewed = authority.describe()
    assert [(d.name, d.kind, d.hosts) for d in renewed] == [(d.name, d.kind, d.hosts) for d in described]
    assert all(d.ends > datetime.now(UTC) + timedelta(days=89) for d in renewed)


def test_a_client_has_no_name_that_a_member_could_have(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.make({"a": DEFAULT_HOSTS}, ["client"])
    assert {d.name: d.hosts for d in authority.describe() if d.kind == "client"} == {"client": ()}
    with pytest.raises(AuthorityError, match="a is named twice"):
        Authority(tmp_path / "other").make({"a": DEFAULT_HOSTS}, ["a"])


@pytest.mark.parametrize("known", [True, False])
def test_a_host_with_another_members_name_is_refused_for_the_one_could_pass_for_the_other(
    tmp_path: Path, known: bool
) -> None:
    authority = Authority(tmp_path)
    hosts = {"a": ["b"]}
    if known:
        authority.make({"b": DEFAULT_HOSTS}, [])
    else:
        hosts["b"] = ["b"]
    with pytest.raises(AuthorityError, match="which is another member's name"):
        authority.make(hosts, [])
    assert not authority.certificate("a").exists()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--nodes", "a b"], "cannot be the name of a member"),
        (["--nodes", "ca"], "and is not ca"),
        (["--nodes", "a", "--days", "0"], "--days is 0: it must be 1 to 3650"),
        (["--nodes", "a", "--host", "10.0.0.1:2379"], "without a port"),
        (["--nodes", "a", "--host", "b=10.0.0.1"], "'b' is not among --nodes"),
        (["--renew"], "has no CA"),
        (["--renew", "--show"], "stand alone"),
        ([], "--nodes names the members"),
    ],
)
def test_bad_input_is_named_and_makes_nothing(tmp_path: Path, arguments: list[str], problem: str) -> None:
    refused = run(str(tmp_path / "tls"), *arguments)
    assert refused.returncode in (2, 3)
    assert problem in refused.stderr
    assert not (tmp_path / "tls").exists()
