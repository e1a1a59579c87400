"""A bad setting names itself, its value and its rule."""

from __future__ import annotations

import random

import pytest
from tests.core.logs import Disk

from coterie.core.config import MILLISECOND, ReplicaConfig
from coterie.core.errors import ConfigurationError, CoterieError, Effect
from coterie.core.protocols import make_replica
from coterie.core.records import Recovered
from coterie.core.types import NO_EPOCH, Epoch, HardState, Membership, SnapshotMeta


@pytest.mark.parametrize("value", [0, -1, 1.5, True, None])
def test_a_limit_is_a_whole_number_above_0(value: object) -> None:
    with pytest.raises(ConfigurationError, match=r"max_append_bytes is .*: it must be a whole number above 0"):
        ReplicaConfig(max_append_bytes=value)  # type: ignore[arg-type]  # wrong types are the point


def test_an_election_timeout_outlasts_a_lost_heartbeat() -> None:
    ReplicaConfig(election_timeout=200 * MILLISECOND, heartbeat_interval=100 * MILLISECOND)
    with pytest.raises(ConfigurationError, match="must be at most half of election_timeout"):
        ReplicaConfig(election_timeout=200 * MILLISECOND, heartbeat_interval=101 * MILLISECOND)


def test_an_unknown_protocol_is_refused() -> None:
    base = SnapshotMeta(0, NO_EPOCH, Membership((), ()))
    recovered = Recovered(hard_state=HardState(), base=base, last_index=0, epochs=(), memberships=())
    with pytest.raises(ConfigurationError, match="protocol is 'zab': it must be one of: raft"):
        make_replica(
            "zab",
            own=1,
            config=ReplicaConfig(),
            recovered=recovered,
            reader=Disk(),
            applied=0,
            rng=random.Random(0),
            now=0,
        )


def test_an_error_says_whether_it_took_effect_and_what_to_do() -> None:
    error = CoterieError("it broke", effect=Effect.UNKNOWN, advice="look")
    assert (str(error), error.effect, error.advice) == ("it broke", Effect.UNKNOWN, "look")
    assert CoterieError("no").effect is Effect.NO


def test_an_epoch_reads_as_people_write_it() -> None:
    assert f"{Epoch(7, 0)} {Epoch(7, 0xA)}" == "7 7.a"
