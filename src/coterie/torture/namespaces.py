"""Hosts on this machine: network namespaces, joined by a bridge that has an address in our own namespace too.

Needs root and iproute2. A lock keeps two runs apart; what a run that was killed left behind is removed by the next.
"""

from __future__ import annotations

import fcntl
import ipaddress
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from coterie.torture.errors import Missing
from coterie.torture.hosts import Host

MAX_HOSTS = 9
NAMESPACE = "coterie-host-{}"
LINK = "cthost{}"
"""Our end of each host's cable; an interface's name has at most 15 letters."""
BRIDGE = "cthost"
SUBNETS = tuple(ipaddress.IPv4Network(f"10.{second}.0.0/24") for second in range(77, 97))
"""The first that this machine does not use is taken."""
LOCK = Path(tempfile.gettempdir()) / "coterie-hosts.lock"
"""Of the whole machine, as the names above are."""
CLIENT_PORT, PEER_PORT = 2379, 2380
_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 0x1


class NoNamespaces(Missing):
    """This machine does not let us have network namespaces; the message says why."""


class Network:
    """The hosts, and their cables."""

    def __init__(self, subnet: ipaddress.IPv4Network, count: int) -> None:
        self._subnet = subnet
        self.hosts = tuple(
            Host(str(subnet[i + 1]), CLIENT_PORT, PEER_PORT, ("ip", "netns", "exec", NAMESPACE.format(i + 1)))
            for i in range(count)
        )

    def make(self) -> None:
        """Make all of it. Raises `NoNamespaces`."""
        _ip("link", "add", BRIDGE, "type", "bridge")
        _ip("addr", "add", f"{self._subnet[-2]}/{self._subnet.prefixlen}", "dev", BRIDGE)
        _ip("link", "set", BRIDGE, "up")
        for i, host in enumerate(self.hosts):
            namespace, link = NAMESPACE.format(i + 1), LINK.format(i + 1)
            _ip("netns", "add", namespace)
            _ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", namespace)
            _ip("link", "set", link, "master", BRIDGE)
            _ip("link", "set", link, "up")
            _ip("-n", namespace, "addr", "add", f"{host.address}/{self._subnet.prefixlen}", "dev", "eth0")
            _ip("-n", namespace, "link", "set", "eth0", "up")
            _ip("-n", namespace, "link", "set", "lo", "up")

    def remove(self) -> None:
        """Remove all of it, with the processes inside."""
        _remove()

    def cut(self, i: int) -> None:
        """Unplug host `i`: nothing reaches it and nothing leaves it; no connection is closed."""
        _set_up(LINK.format(i + 1), False)

    def heal(self, i: int) -> None:
        """Plug it in again."""
        _set_up(LINK.format(i + 1), True)

    def impair(self, i: int, *, delay_ms: int = 0, loss_percent: int = 0) -> None:
        """What leaves for host `i` and what it sends is late, or lost; nothing of both ends it. Raises `NoNamespaces`
        where the kernel has no netem."""
        wanted = ["delay", f"{delay_ms}ms", f"{delay_ms // 4}ms"] if delay_ms else []
        wanted += ["loss", f"{loss_percent}%"] if loss_percent else []
        for command, interface in ((("tc",), LINK.format(i + 1)), (("tc", "-n", NAMESPACE.format(i + 1)), "eth0")):
            if wanted:
                _run(*command, "qdisc", "replace", "dev", interface, "root", "netem", *wanted)
            elif "netem" in _run(*command, "qdisc", "show", "dev", interface):
                _run(*command, "qdisc", "del", "dev", interface, "root")

    def impairs(self) -> str:
        """Empty if `impair` can be had here; else why not."""
        try:
            self.impair(0, delay_ms=1)
            self.impair(0)
        except NoNamespaces as error:
            return str(error)
        return ""


@contextmanager
def network(count: int) -> Iterator[Network]:
    """Make so many hosts, at most `MAX_HOSTS`, and remove them at the end, whatever happens. Raises `NoNamespaces`."""
    if os.geteuid() != 0:
        raise NoNamespaces("network namespaces need root")
    if shutil.which("ip") is None:
        raise NoNamespaces("network namespaces need the command ip: apt-get install iproute2")
    lock = os.open(LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NoNamespaces("another run on this machine has the namespaces") from None
        _remove()
        made = Network(_free_subnet(), count)
        try:
            made.make()
            yield made
        finally:
            made.remove()
    finally:
        os.close(lock)


def _ip(*arguments: str) -> str:
    return _run("ip", *arguments)


def _run(*command: str) -> str:
    try:
        run = subprocess.run(command, capture_output=True, text=True, check=False, start_new_session=True)
    except OSError as error:
        raise NoNamespaces(f"`{' '.join(command)}` cannot be run: {error}") from error
    if run.returncode:
        raise NoNamespaces(f"`{' '.join(command)}` failed: {run.stderr.strip()}")
    return run.stdout


def _remove() -> None:
    """Remove whatever there is of us: first the processes inside, then the namespaces. Ctrl-C does not stop it."""
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for i in range(MAX_HOSTS):
            namespace, link = NAMESPACE.format(i + 1), LINK.format(i + 1)
            with suppress(NoNamespaces):
                for pid in _ip("netns", "pids", namespace).split():
                    with suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)
            with suppress(NoNamespaces):
                _ip("link", "del", link)  # with it goes the other end
            with suppress(NoNamespaces):
                _ip("netns", "del", namespace)
        with suppress(NoNamespaces):
            _ip("link", "del", BRIDGE)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _free_subnet() -> ipaddress.IPv4Network:
    routes = json.loads(_ip("-4", "-json", "route", "show", "table", "all") or "[]")
    used = []
    for route in routes:
        with suppress(ValueError):  # "default"
            used.append(ipaddress.IPv4Network(route["dst"], strict=False))
    for subnet in SUBNETS:
        if not any(subnet.overlaps(each) for each in used):
            return subnet
    raise NoNamespaces(f"this machine uses every subnet from {SUBNETS[0]} to {SUBNETS[-1]}")


def _set_up(interface: str, up: bool) -> None:
    """Set or clear an interface's flag UP, in one system call: `ip` would take its time to start."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        name = interface.encode()
        asked = fcntl.ioctl(any_socket, _GET_FLAGS, struct.pack("16sh14x", name, 0))
        flags = struct.unpack("16sh14x", asked)[1]
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh14x", name, flags | _UP if up else flags & ~_UP))
