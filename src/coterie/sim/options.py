"""What one seed chooses: the cluster, and the subset of fault classes with their strengths."""

from __future__ import annotations

import random
from collections.abc import Collection
from typing import Final

import msgspec

from coterie.core.config import MILLISECOND
from coterie.core.protocols import DEFAULT_PROTOCOL
from coterie.core.settings import Settings
from coterie.core.types import Nanos
from coterie.sim.chance import stream
from coterie.sim.whims import drawn

SECOND: Final = 1000 * MILLISECOND

NATIVE, ETCD, BOTH = "native", "etcd", "both"
APIS: Final = (NATIVE, ETCD, BOTH)
"""What clients speak: Coterie's own protocol, etcd's API, or some this and some that."""

FAULTS: Final = (
    "delay",
    "loss",
    "duplicate",
    "reorder",
    "hold",
    "partition",
    "depose",
    "crash",
    "pause",
    "slow-disk",
    "full-disk",
    "sync-error",
    "bit-rot",
    "clock",
    "snapshot",
    "membership",
    "transfer",
    "lease",
    "wipe",
    "restore",
    "quorums",
    "partial",
    "flapping",
    "ambush",
    "read-error",
    "torn-sector",
    "unsteady-clock",
    "client-crash",
    "whims",
    "misdirect",
    "lost-name",
    "absence",
)
"""Every fault class. All at once hides bugs that one alone would show, so a seed takes a subset."""
OLD_FAULTS: Final = 14
NEW_FAULTS: Final = 20
"""The classes up to the first are drawn from one stream, those up to the second from another, later ones from one each:
so a new one leaves old seeds as they were, but for itself."""
NO_FAULTS: Final = "none"
"""What the command line calls the empty set of fault classes."""
LOSS, DUPLICATE, REORDER, HOLD = (5, 20, 50, 200), (10, 50, 200), (20, 100, 300), (5, 20, 60)
"""Strengths of faults of single messages, in thousandths."""
SNAPSHOT_SETTINGS: Final = ("snapshot_log_bytes", "snapshot_log_ratio", "snapshot_keep_entries")
DELAY_SHARES: Final = (6, 12, 40, 100)
"""Parts of the election timeout that a message takes on average where the network is slow."""
PROMPT: Final = (200_000, 1_000_000)
"""The same in nanoseconds where it is not."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """All that a run depends on besides the code."""

    seed: int
    nodes: int
    duration: Nanos
    """Simulated time with faults; the healing at the end comes on top."""
    clients: int
    faults: tuple[str, ...]
    election_timeout: Nanos
    heartbeat_interval: Nanos
    delay_mean: Nanos
    loss_permille: int
    duplicate_permille: int
    reorder_permille: int
    hold_permille: int
    fault_interval: Nanos
    """Mean time between two faults of one class."""
    core_only: bool
    """At the end only a quorum comes back; the rest stays dead for ever."""
    settings: Settings = Settings()
    """What the cluster begins with."""
    drift_ppm: int = 100_000
    """With `clock`: clocks run by up to so many millionths fast or slow."""
    chunk_bytes: int = 256 * 1024
    """Of a snapshot in one message."""
    snapshot_rate: int = 1 << 26
    """Bytes of snapshots that a leader sends in a second."""
    protocol: str = DEFAULT_PROTOCOL
    """One of `core.protocols.PROTOCOLS`: what the members run."""
    whims: tuple[str, ...] = ()
    """With `whims`: what the members do now and then that they hardly ever do (`sim.whims`)."""
    api: str = NATIVE
    """One of `APIS`. With `BOTH` there are as many clients of each kind."""

    def has(self, fault: str) -> bool:
        """Whether this fault class is on."""
        return fault in self.faults

    def replay(self) -> str:
        """The command that shows this run again, whatever the seed would choose, and all that was chosen."""
        chosen = " ".join(f"{name}={getattr(self, name)}" for name in self.__struct_fields__)
        return f"replay: {self.command()}\noptions: {chosen}"

    def command(self) -> str:
        """The command that shows this run again."""
        seconds, faults = self.duration / SECOND, ",".join(self.faults) or NO_FAULTS
        api = "" if self.api == NATIVE else f" --api {self.api}"
        return (
            f"coterie sim --seed {self.seed} --protocol {self.protocol} --nodes {self.nodes} "
            f"--seconds {seconds:g} --clients {self.clients} --faults {faults}{api}"
        )


def choose(
    seed: int, *, nodes: int | None = None, duration: Nanos = 30 * SECOND, protocol: str = DEFAULT_PROTOCOL
) -> Options:
    """The options of a seed, the same for every protocol. One seed in ten has no fault, one in ten exactly one; the
    others have each class with p = 0.5 and crashes with 0.85."""
    rng = stream(seed, "options")
    size = rng.choice((3, 3, 3, 3, 3, 3, 5, 5, 4, 1 if seed % 3 == 0 else 2))
    more = stream(seed, "more options")
    old, new = FAULTS[:OLD_FAULTS], FAULTS[OLD_FAULTS:NEW_FAULTS]
    subset = tuple(f for f in old if rng.randrange(100) < (85 if f == "crash" else 50))
    subset += tuple(f for f in new if more.getrandbits(1))
    single = (rng.choice(old),)
    if more.randrange(NEW_FAULTS) < len(new):
        single = (more.choice(new),)
    for position, latest in enumerate(FAULTS[NEW_FAULTS:], NEW_FAULTS):
        own = stream(seed, latest)
        if own.getrandbits(1):
            subset += (latest,)
        if not own.randrange(position + 1):
            single = (latest,)
    if seed % 10 == 0:
        subset = ()
    elif seed % 10 == 5:
        subset = single
    timeout = rng.choice((150, 300, 300, 500)) * MILLISECOND
    return Options(
        seed=seed,
        nodes=nodes if nodes is not None else size,
        duration=duration,
        clients=rng.randrange(4, 7),
        faults=subset,
        election_timeout=timeout,
        heartbeat_interval=timeout // rng.choice((3, 5, 10)),
        # Elections overlap, and replication stays half done, where the network is slow against the timeouts.
        delay_mean=timeout // rng.choice(DELAY_SHARES) if "delay" in subset else rng.choice(PROMPT),
        loss_permille=rng.choice(LOSS) if "loss" in subset else 0,
        duplicate_permille=rng.choice(DUPLICATE) if "duplicate" in subset else 0,
        reorder_permille=rng.choice(REORDER) if "reorder" in subset else 0,
        hold_permille=rng.choice(HOLD) if "hold" in subset else 0,
        fault_interval=timeout * rng.choice((2, 4, 8)),
        core_only=rng.randrange(3) == 0,
        settings=_settings(more, subset, timeout),
        chunk_bytes=more.choice((1000, 20_000, 256 * 1024)),
        snapshot_rate=more.choice((2_000_000, 1 << 26)),
        protocol=protocol,
        whims=drawn(seed),
    )


def _settings(rng: random.Random, faults: tuple[str, ...], timeout: Nanos) -> Settings:
    """What the cluster begins with."""
    tiny = (rng.choice((250, 600, 2000)), int(rng.randrange(10) == 0), rng.choice((0, 2, 10)))
    lease = timeout // MILLISECOND * rng.choice((1, 2, 4)) // 2
    settings = Settings(
        divergence_check_ms=rng.choice((50, 300, 2000)),
        lease_ms=lease,
        # Two clocks that run 10 % fast and slow differ by 223 thousandths of the slow one.
        clock_drift_permille=230 if "clock" in faults else 10,
        lease_reads="lease" in faults,
    )
    if "snapshot" in faults:
        settings = msgspec.structs.replace(settings, **dict(zip(SNAPSHOT_SETTINGS, tiny, strict=True)))
    return settings


def with_faults(options: Options, faults: Collection[str]) -> Options:
    """The same seed with just these fault classes. Those that the seed has chosen itself keep their strengths, the
    others draw theirs; so to take one away leaves the others as they are."""
    chosen = tuple(fault for fault in FAULTS if fault in faults)
    rng = stream(options.seed, "strengths")
    drawn = {
        "loss": rng.choice(LOSS),
        "duplicate": rng.choice(DUPLICATE),
        "reorder": rng.choice(REORDER),
        "hold": rng.choice(HOLD),
    }
    delays = {True: options.election_timeout // rng.choice(DELAY_SHARES), False: rng.choice(PROMPT)}
    settings = _settings(rng, chosen, options.election_timeout)
    kept = ["divergence_check_ms", "lease_ms"]
    if options.has("snapshot") == ("snapshot" in chosen):
        kept += SNAPSHOT_SETTINGS
    return msgspec.structs.replace(
        options,
        faults=chosen,
        delay_mean=options.delay_mean if options.has("delay") == ("delay" in chosen) else delays["delay" in chosen],
        settings=msgspec.structs.replace(settings, **{name: getattr(options.settings, name) for name in kept}),
        **{
            f"{name}_permille": (getattr(options, f"{name}_permille") or permille) if name in chosen else 0
            for name, permille in drawn.items()
        },
    )
