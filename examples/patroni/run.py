"""High-available PostgreSQL on one machine: three Patroni nodes, whose cluster state three Coterie nodes keep.

`make patroni` runs it. It needs PostgreSQL (Debian: apt-get install postgresql), and Patroni in .clients (`make
clients`). Started by root, Patroni and PostgreSQL run as the user `postgres`, for PostgreSQL refuses to run as root.
"""

from __future__ import annotations

import argparse
import json
import os
import pwd
import shutil
import signal
import string
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PATRONI = ROOT / ".clients" / "python" / "bin" / "patroni"
NAMES = ("pg1", "pg2", "pg3")
STARTING_S = 90.0
STOPPING_S = 30.0


def binaries() -> Path:
    """Where PostgreSQL's programs are; the newest, if there are several."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda found: float(found.parts[-3]))
    found = versions[-1] if versions else shutil.which("initdb")
    if found is None:
        raise SystemExit("PostgreSQL is not installed; Debian: apt-get install postgresql")
    return Path(found).resolve().parent


def identity() -> tuple[int, int]:
    """User and group that PostgreSQL runs as."""
    if os.getuid() != 0:
        return os.getuid(), os.getgid()
    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        message = "PostgreSQL does not run as root, and there is no user `postgres`: start this as another user"
        raise SystemExit(message) from None
    return user.pw_uid, user.pw_gid


def as_user() -> list[str]:
    """What stands before a command so that it runs as that user. It may look into every directory, for the interpreter
    may be one in root's home."""
    if os.getuid() != 0:
        return []
    user, group = identity()
    reads = "+dac_read_search"
    capabilities = ["--inh-caps", reads, "--ambient-caps", reads]
    return ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", *capabilities]


@contextmanager
def coterie(data: Path, port: int) -> Iterator[str]:
    """Three nodes of Coterie; gives where they serve clients, as Patroni's settings have it."""
    command = [sys.executable, "-m", "coterie"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COTERIE_")}
    up = [*command, "up", "--nodes", "3", "--client-port", str(port), "--data", str(data), "--detach"]
    subprocess.run(up, check=True, env=environment)
    try:
        yield ", ".join(f"127.0.0.1:{port + 2 * node}" for node in range(3))
    finally:
        subprocess.run([*command, "down", "--data", str(data)], check=True, env=environment)


def configure(data: Path, name: str, port: int, rest_port: int, etcd: str) -> Path:
    """Write the settings of one Patroni node; gives their path."""
    user, group = identity()
    place = data / name
    place.mkdir(mode=0o755, parents=True, exist_ok=True)
    template = string.Template((HERE / "patroni.yml").read_text())
    settings = place / "patroni.yml"
    settings.write_text(
        template.substitute(name=name, etcd=etcd, port=port, rest_port=rest_port, data=place, binaries=binaries())
    )
    for path in (place, settings):
        os.chown(path, user, group)
    return settings


def start(settings: Path) -> subprocess.Popen[bytes]:
    """Start a Patroni node; it starts and stops PostgreSQL."""
    environment = os.environ | {"HOME": str(settings.parent)}
    with (settings.parent / "patroni.log").open("ab") as log:
        return subprocess.Popen(
            [*as_user(), PATRONI, settings],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=settings.parent,
            env=environment,
        )


def stop(processes: list[subprocess.Popen[bytes]]) -> None:
    """Stop all of them, and PostgreSQL with each."""
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + STOPPING_S
    for process in processes:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()


def answers(rest_port: int, path: str) -> bool:
    """Whether a Patroni node says yes: to /primary, if it is that; to /replica; to /health."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{rest_port}{path}", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def streaming(rest_port: int) -> int:
    """How many replicas stream from the primary, as far as this node knows."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{rest_port}/cluster", timeout=2) as answer:
            members = json.load(answer)["members"]
    except (urllib.error.URLError, OSError, ValueError, KeyError):
        return 0
    return sum(member.get("state") == "streaming" for member in members)


def await_all(rest_ports: list[int]) -> None:
    """Wait until one is the primary and the others follow it."""
    deadline = time.monotonic() + STARTING_S
    replicas = len(rest_ports) - 1
    while [answers(port, "/primary") for port in rest_ports].count(True) != 1 or not all(
        streaming(port) == replicas for port in rest_ports
    ):
        if time.monotonic() > deadline:
            raise SystemExit(f"there is no primary with two replicas after {STARTING_S:.0f} s: see patroni.log of each")
        time.sleep(0.2)


def explain(settings: list[Path], ports: list[int], etcd: str) -> None:
    """Say what to try."""
    control = f"{PATRONI.with_name('patronictl')} -c {settings[0]}"
    hosts = ",".join("127.0.0.1" for _ in ports)
    print(f"""
Try, in another terminal:
  {control} list
  {control} switchover --force
  psql 'postgresql://postgres:example@{hosts}/postgres?target_session_attrs=read-write' -p {",".join(map(str, ports))}
  coterie status --endpoints {etcd.replace(" ", "")}      then kill -9 the leader's pid: the primary stays
  kill -9 $(head -1 {settings[0].parent}/pgdata/postmaster.pid)      the primary's: another takes its place
Ctrl-C stops all; the data stay.""")


def main() -> None:
    """Run it until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("/tmp/coterie-patroni"), help="directory of all data")
    parser.add_argument("--port", type=int, default=5440, help="PostgreSQL's first port; Patroni's are from +10 on")
    parser.add_argument("--coterie-port", type=int, default=2479, help="Coterie's first port")
    options = parser.parse_args()
    if not PATRONI.exists():
        raise SystemExit(f"{PATRONI} is not installed: run 'make clients'")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with ExitStack() as stack:
            serve(options, stack)
    except KeyboardInterrupt:
        print("All is stopped.")


def serve(options: argparse.Namespace, stack: ExitStack) -> None:
    """Start all, and wait; the stack stops it."""
    ports = [options.port + node for node in range(3)]
    rest_ports = [port + 10 for port in ports]
    etcd = stack.enter_context(coterie(options.data / "coterie", options.coterie_port))
    settings = [
        configure(options.data, name, port, rest_port, etcd)
        for name, port, rest_port in zip(NAMES, ports, rest_ports, strict=True)
    ]
    nodes = [start(path) for path in settings]
    stack.callback(stop, nodes)
    await_all(rest_ports)
    subprocess.run([PATRONI.with_name("patronictl"), "-c", settings[0], "list"], check=True)
    explain(settings, ports, etcd)
    signal.pause()


if __name__ == "__main__":
    main()
