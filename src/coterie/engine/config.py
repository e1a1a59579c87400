"""What an engine needs to know besides its disk: limits, and who it is."""

from __future__ import annotations

import msgspec

from coterie.core.config import MIB, MILLISECOND, ReplicaConfig
from coterie.core.settings import LATEST_VERSION
from coterie.core.types import MemberId, Nanos


class EngineConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of the engine; the replica's own are in `replica`."""

    replica: ReplicaConfig = ReplicaConfig()
    request_timeout: Nanos = 5000 * MILLISECOND
    """A request that has no outcome by then fails with TIMEOUT, effect unknown."""
    max_batch_bytes: int = 1 * MIB
    """Command bytes in one log entry (one command may exceed it and then travels alone)."""
    max_batch_commands: int = 8192
    max_pending_requests: int = 65536
    """Requests taken and not yet answered; one more is refused with OVERLOADED."""
    batch_delay: Nanos = 2 * MILLISECOND
    """While entries are on their way to their quorum, further commands gather for at most this long,
    doubled for each such entry, so that many share the next one. An idle leader proposes at once."""
    resend_interval: Nanos = 500 * MILLISECOND
    """Commands forwarded to a leader and not applied by then are sent to it again, and then after twice that time."""
    time_interval: Nanos = 10_000 * MILLISECOND
    """While a session or the machine waits for a time, an idle leader logs the time so often: no more than that is
    waited for anew under the next leader (as etcd's checkpoints of leases do; catalogue E05)."""
    supported_version: int = LATEST_VERSION
    """The newest cluster version that this program supports."""


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who this node is: from its data directory."""

    cluster: int
    """64 bits, made from the first entry of the log."""
    member: MemberId
    name: str
    boot: int
    """How often this data directory was started; durable before the node speaks."""
    version: str = "0"
    pid: int = 0
