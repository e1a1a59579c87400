"""What all members of a cluster must share: agreed in the log, never local configuration.

A setting takes part in decisions that must come out alike everywhere (what is refused, when a session
expires, whether a lease may be trusted), so no two members may have different ones.
"""

from __future__ import annotations

import msgspec

from coterie.core.errors import ConfigurationError

MIB = 1024 * 1024
LATEST_VERSION = 1
"""The newest cluster version that this program supports."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One value for each setting; a SETTINGS entry carries all of them. A name that is not known is an error:
    the cluster version gates what may be written."""

    version: int = 1
    """Cluster version: which formats and behaviours may be used. It only grows, and only to what every member
    supports; nobody sets it by hand."""
    lease_reads: bool = False
    """Whether a leader answers linearizable reads from its lease, without a round (6.4.1)."""
    clock_drift_permille: int = 10
    """By how much two members' monotonic clocks may differ in rate, in thousandths. With lease reads on, a cluster
    whose clocks are worse can read stale values."""
    lease_ms: int = 1000
    """How long a voter that heard its leader elects no other, with lease reads on, whatever its own election timeout
    is. (That one is each member's own configuration: a lease that rested on it would end early where it is shorter.)"""
    snapshot_log_bytes: int = 64 * MIB
    """A snapshot is taken once the log has so many bytes ..."""
    snapshot_log_ratio: int = 4
    """... and this many times the bytes of the last snapshot (LogCabin's rule)."""
    snapshot_keep_entries: int = 5000
    """Entries kept behind a snapshot, for followers that are a little behind."""
    max_sessions: int = 65536
    max_session_replies: int = 4096
    max_session_reply_bytes: int = 8 * MIB
    max_total_reply_bytes: int = 256 * MIB
    divergence_check_ms: int = 60_000
    """Cluster time between two comparisons of the members' states; 0: never."""
    quota_bytes: int = 2048 * MIB
    """What a member's key-value data may take on its disk. A member that reaches it raises the alarm NOSPACE, for all
    members; it is off again when somebody clears it."""
    serial: int = 0
    """One more than that of the settings which these were made from. No setting, so not among `NAMES`."""

    def __post_init__(self) -> None:
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise ConfigurationError(f"{name} is {value!r}: it must be a whole number from {low} to {high}")
        if type(self.lease_reads) is not bool:
            raise ConfigurationError(f"lease_reads is {self.lease_reads!r}: it must be true or false")


NAMES: tuple[str, ...] = tuple(name for name in Settings.__struct_fields__ if name != "serial")
"""What is set, and shown to people."""

RANGES: dict[str, tuple[int, int]] = {
    "version": (1, 1 << 31),
    "clock_drift_permille": (0, 500),
    "lease_ms": (1, 60_000),
    "snapshot_log_bytes": (1, 1 << 40),
    "snapshot_log_ratio": (0, 1000),
    "snapshot_keep_entries": (0, 1 << 40),
    "max_sessions": (1, 1 << 30),
    "max_session_replies": (1, 1 << 30),
    "max_session_reply_bytes": (1, 1 << 40),
    "max_total_reply_bytes": (1, 1 << 40),
    "divergence_check_ms": (0, 1 << 40),
    "quota_bytes": (MIB, 1 << 50),
    "serial": (0, 1 << 60),
}
"""Least and greatest value of each whole-number setting."""
