"""How quickly a disk makes writes durable, measured the way the log writes: for `coterie disk DIR`."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable, Sequence
from enum import Enum

import msgspec

from coterie.core.errors import ConfigurationError
from coterie.storage.direct import BLOCK_BYTES, write_past_cache
from coterie.storage.disk import DiskFiles
from coterie.storage.files import File, Files
from coterie.storage.refusal import refusing

ROUNDS = 1000
"""Enough that ten rounds are slower than the p99."""
MAX_ROUNDS = 1_000_000
BYTES_PER_ROUND = 4096
MAX_BYTES_PER_ROUND = 1024 * 1024
MAX_FILE_BYTES = 64 * 1024 * 1024
"""Of the probe's file; more rounds than fit begin again at its start."""
TIME_LIMIT_S = 10.0

SLOW_US = 10_000
"""etcd's rule: the p99 of the log's fdatasync should be under 10 ms (etcd documentation, FAQ, "slow disk")."""
EXCELLENT_US = 1_000
UNREAL_US = 5
"""No disk answers a flush in less; memory (tmpfs) and disks that only pretend do."""


class Verdict(Enum):
    """Whether a disk is good enough for a member's log."""

    EXCELLENT = "excellent"
    GOOD = "good"
    SLOW = "slow"
    SUSPECT = "suspect"
    """Too quick to be true: what is acknowledged may be lost with the power."""


class DiskReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a probe found. Latencies in microseconds, until one write was durable."""

    rounds: int
    bytes_per_round: int
    p50_us: int
    p99_us: int
    p999_us: int
    max_us: int
    verdict: Verdict
    sentence: str
    """The verdict for people, with what follows from it."""


def probe_disk(
    directory: str,
    *,
    rounds: int = ROUNDS,
    bytes_per_round: int = BYTES_PER_ROUND,
    time_limit_s: float = TIME_LIMIT_S,
    files: Files | None = None,
    now: Callable[[], int] = time.perf_counter_ns,
) -> DiskReport:
    """Write durably `rounds` times in a row into a preallocated file of its own in `directory`: past the page cache if
    rounds are whole blocks and the file system allows it, else with fdatasync.

    Fewer rounds if `time_limit_s` is over, but at least one. The file is removed at the end. A member
    that uses the directory is slowed down meanwhile, not harmed. `now`: nanoseconds. Raises
    `DirectoryRefused`, and `ConfigurationError` for a number out of its range.
    """
    if not 1 <= rounds <= MAX_ROUNDS:
        raise ConfigurationError(f"rounds is {rounds}: it must be between 1 and {MAX_ROUNDS}")
    if not 1 <= bytes_per_round <= MAX_BYTES_PER_ROUND:
        raise ConfigurationError(f"bytes_per_round is {bytes_per_round}: it must be 1 to {MAX_BYTES_PER_ROUND} bytes")
    files = DiskFiles() if files is None else files
    path = f"{directory.rstrip('/')}/fsync-probe.{secrets.token_hex(8)}"
    slots = min(rounds, MAX_FILE_BYTES // bytes_per_round)
    with refusing(directory):
        file = files.open(path, create=True)
        try:
            _preallocate(file, slots, bytes_per_round)
            files.sync_directory(directory)
            latencies = _measure(file, rounds, slots, bytes_per_round, int(time_limit_s * 1e9), now)
        finally:
            file.close()
            files.remove(path)
    return report(latencies, bytes_per_round)


def _preallocate(file: File, slots: int, bytes_per_round: int) -> None:
    """Written, not only extended: later writes then change no block map, as in the log's segments."""
    zeros = bytes(bytes_per_round)
    for slot in range(slots):
        file.write_at(slot * bytes_per_round, zeros)
    file.sync()


def _measure(
    file: File, rounds: int, slots: int, bytes_per_round: int, limit_ns: int, now: Callable[[], int]
) -> list[int]:
    data = secrets.token_bytes(bytes_per_round)
    latencies: list[int] = []
    started = now()
    for round_ in range(rounds):
        offset = round_ % slots * bytes_per_round
        before = now()
        if offset % BLOCK_BYTES or bytes_per_round % BLOCK_BYTES or not write_past_cache(file, offset, (data,)):
            file.write_at(offset, data)
            file.sync()
        after = now()
        latencies.append(after - before)
        if after - started >= limit_ns:
            break
    return latencies


def report(latencies: Sequence[int], bytes_per_round: int) -> DiskReport:
    """Sum up latencies, in nanoseconds, at least one; percentiles are nearest ranks."""
    ordered = sorted(latencies)

    def rank(per_mille: int) -> int:
        return ordered[max(0, math.ceil(len(ordered) * per_mille / 1000) - 1)] // 1000

    p50, p99 = rank(500), rank(990)
    verdict, sentence = _judge(p50, p99)
    return DiskReport(
        rounds=len(ordered),
        bytes_per_round=bytes_per_round,
        p50_us=p50,
        p99_us=p99,
        p999_us=rank(999),
        max_us=ordered[-1] // 1000,
        verdict=verdict,
        sentence=sentence,
    )


def _judge(p50_us: int, p99_us: int) -> tuple[Verdict, str]:
    p99 = f"99 of 100 syncs took at most {p99_us / 1000:.2f} ms"
    if p50_us < UNREAL_US:
        return Verdict.SUSPECT, (
            f"suspect: half of the syncs took less than {UNREAL_US} µs, which no disk can do. This is memory (tmpfs), "
            "or a disk that ignores syncs: what members acknowledge could be lost with the power."
        )
    if p99_us < EXCELLENT_US:
        return Verdict.EXCELLENT, f"excellent: {p99}. The disk will hardly be felt."
    if p99_us < SLOW_US:
        return Verdict.GOOD, f"good: {p99}, under the {SLOW_US // 1000} ms that a consensus log needs."
    return Verdict.SLOW, (
        f"slow: {p99}; it should be under {SLOW_US // 1000} ms. Every write waits for a sync at a majority, so writes "
        "take at least as long, and a leader whose disk hangs for an election timeout gives up. Use an SSD that "
        "nothing else writes to, or raise the election timeout."
    )
