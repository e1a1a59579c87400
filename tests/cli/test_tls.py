"""`coterie up --tls`, and client commands with it: here they find the certificates, elsewhere they are told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tests.runtime.cluster import free_port_block

from coterie.cli.authority import Authority
from coterie.cli.cluster_file import LocalCluster, read_cluster
from coterie.cli.local_cluster import Wanted, start_cluster, stop_cluster
from coterie.core.errors import CoterieError

ROOT = Path(__file__).parents[2]
NOTHING: Mapping[str, str] = {}


def run(*arguments: str, cwd: Path, more: Mapping[str, str] = NOTHING) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("COTERIE_")}
    return subprocess.run(
        [sys.executable, "-m", "coterie", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**kept, "PYTHONPATH": str(ROOT / "src"), **more},
        check=False,
        timeout=120,
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory with a cluster of one node that speaks TLS."""
    home = tmp_path_factory.mktemp("home")
    up = run("up", "--nodes", "1", "--client-port", str(free_port_block(2)), "--tls", "--detach", cwd=home)
    assert up.returncode == 0, up.stderr
    assert "--cacert .coterie/tls/ca.crt" in up.stdout
    yield home
    stop_cluster(home / ".coterie")


def cluster_of(home: Path) -> LocalCluster:
    cluster = read_cluster(home / ".coterie")
    assert cluster is not None
    return cluster


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("put", "a", "1"), "ok"),
        (("range", "a", "z"), "a\t1"),
        (("cas", "a", "1", "1"), ""),
        (("status", "--json"), '"healthy":true'),
        (("member", "list", "--json"), '"n1"'),
        (("settings", "get", "lease-reads"), "false"),
        (("bench", "put", "--seconds", "0.2", "--in-flight", "4", "--json"), '"errors":0'),
        (("delete", "a"), ""),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_a_command_beside_the_cluster_finds_its_certificates(home: Path, arguments: tuple[str, ...], said: str) -> None:
    done = run(*arguments, cwd=home)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout


def test_elsewhere_flags_before_or_after_the_command_or_variables_say_it(home: Path, tmp_path: Path) -> None:
    endpoints = ("--endpoints", cluster_of(home).endpoints)
    tls = home / ".coterie" / "tls"
    flags = ("--cacert", f"{tls}/ca.crt", "--cert", f"{tls}/client.crt", "--key", f"{tls}/client.key")
    variables = {"COTERIE_CACERT": flags[1], "COTERIE_CERT": flags[3], "COTERIE_KEY": flags[5]}
    assert run("put", "key", "value", *endpoints, *flags, cwd=tmp_path).returncode == 0
    assert run(*flags, *endpoints, "get", "key", cwd=tmp_path).stdout == "value\n"
    assert run("settings", "list", *endpoints, *flags, cwd=tmp_path).returncode == 0
    assert run("get", "key", *endpoints, cwd=tmp_path, more=variables).stdout == "value\n"
    assert json.loads(run("status", "--json", *endpoints, cwd=tmp_path, more=variables).stdout)["leader"] == "n1"


def test_without_them_it_is_said_which_options_there_are(home: Path, tmp_path: Path) -> None:
    endpoints = ("--endpoints", cluster_of(home).endpoints)
    for command in (("get", "key"), ("status",)):
        refused = run(*command, *endpoints, cwd=tmp_path)
        assert refused.returncode == 3
        assert "if its port speaks TLS, the CA's file must be given" in refused.stderr
        assert "What to do: see --cacert, --cert and --key" in refused.stderr
    half = run("get", "key", *endpoints, "--cert", "x.crt", cwd=tmp_path)
    assert half.returncode == 2
    assert "tls key is '': with cert it must name a file, too" in half.stderr


def test_a_cluster_keeps_what_it_was_made_with(home: Path) -> None:
    with pytest.raises(CoterieError, match="was made with --tls"):
        start_cluster(home / ".coterie", Wanted(tls=False))
    before = Authority(home / ".coterie" / "tls").certificate("n1").read_bytes()
    again = run("up", "--detach", cwd=home)
    assert again.returncode == 0, again.stderr
    assert "Already up" in again.stdout
    assert Authority(home / ".coterie" / "tls").certificate("n1").read_bytes() == before


def test_the_command_for_an_added_member_makes_its_certificate_and_names_it(home: Path) -> None:
    peer = f"127.0.0.1:{free_port_block(2) + 1}"
    added = run("member", "add", "n9", "--peer", peer, "--json", cwd=home)
    command = json.loads(added.stdout)["command"]
    assert command.startswith("coterie certs .coterie/tls --nodes n9 && coterie node --name n9 ")
    assert "--peer-cert" in command
    assert "--client-ca" in command
    assert run("member", "remove", "n9", cwd=home).returncode == 0
