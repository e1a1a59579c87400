"""The stores and their modes of reading: how a cluster of each is set up, and whom its clients ask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from coterie.core.config import MILLISECOND, ReplicaConfig
from coterie.core.protocols import PROTOCOLS
from coterie.core.settings import Settings
from coterie.core.types import MemberId
from coterie.engine.config import EngineConfig
from coterie.lab.references.catalogue import reference
from coterie.lab.references.dynamo import Replication, dynamo
from coterie.lab.references.replica import Reference
from coterie.lab.references.stage import ReferenceStage
from coterie.lab.stage.geography import Geography
from coterie.lab.stage.scene import Scene
from coterie.lab.stage.stage import Stage

LEADER, NEAREST = "leader", "nearest"
BROADCASTS: Final = 10
LEAST_TIMEOUT_MS: Final = 500
SKEW_TRIPS: Final = 2.0
SKEW_MS: Final = 2000.0
"""The wall clock of a reference's last member is behind by both. Coterie's clocks decide nothing."""


class Mode(msgspec.Struct, frozen=True, kw_only=True):
    """One way to read and write one store."""

    store: str
    name: str
    read_mode: str = "linearizable"
    read_at: str = LEADER
    write_at: str = LEADER
    expected: str
    """PACELC as theory, or the store's papers, have it, of its reads: `PC/EC` ..."""
    why: str
    lease: bool = False

    @property
    def title(self) -> str:
        """Store and mode."""
        return f"{self.store}, {self.name}"

    def asked(self, scene: Scene, site: int, *, write: bool) -> MemberId:
        """The member that a client of the site asks."""
        place = self.write_at if write else self.read_at
        if place == LEADER:
            return scene.leader() or scene.nearest(site)
        return scene.nearest(site)


_LINEARIZABLE: Final = "a quorum confirms the leader before it answers"
COTERIE: Final = (
    ("linearizable at the leader", "linearizable", LEADER, False, "PC/EC", _LINEARIZABLE),
    (
        "linearizable at the nearest member",
        "linearizable",
        NEAREST,
        False,
        "PC/EC",
        f"it asks the leader; {_LINEARIZABLE}",
    ),
    ("linearizable by a lease", "linearizable", LEADER, True, "PC/EC", "the leader answers while its lease lasts"),
    (
        "session at the nearest member",
        "session",
        NEAREST,
        False,
        "PA/EL",
        "it answers with what it has, if that is new enough",
    ),
    ("stale at the nearest member", "stale", NEAREST, False, "PA/EL", "it answers with what it has"),
)


def coterie_modes(protocol: str) -> tuple[Mode, ...]:
    """The product's, with one protocol; all write through the leader."""
    return tuple(
        Mode(store=protocol, name=name, read_mode=mode, read_at=at, lease=lease, expected=expected, why=why)
        for name, mode, at, lease, expected, why in COTERIE
    )


REFERENCES: Final = (
    Mode(
        store="abd",
        name="quorum register",
        read_at=NEAREST,
        write_at=NEAREST,
        expected="PC/EC",
        why="a majority answers every read, and writes back what it read",
    ),
    Mode(
        store="dynamo",
        name="R=2 W=2 of 3, sloppy",
        read_at=NEAREST,
        write_at=NEAREST,
        expected="PA/EL",
        why="whoever answers stands in, and the last writer wins by its clock",
    ),
    Mode(
        store="dynamo-1",
        name="R=1 W=1 of all",
        read_at=NEAREST,
        write_at=NEAREST,
        expected="PA/EL",
        why="one copy is enough",
    ),
    Mode(
        store="primary-backup",
        name="stale at the nearest backup",
        read_mode="stale",
        read_at=NEAREST,
        expected="PA/EL",
        why="it acknowledges before a backup has the write",
    ),
)


def every_mode(members: int) -> tuple[Mode, ...]:
    """All that is compared, on so many members."""
    references: tuple[Mode, ...] = REFERENCES
    if members < 5:
        few = "two must answer, and the side of few is one member"
        references = tuple(
            msgspec.structs.replace(mode, expected="PC/EL", why=few) if mode.store == "dynamo" else mode
            for mode in REFERENCES
        )
    return (*(mode for protocol in PROTOCOLS for mode in coterie_modes(protocol)), *references)


def timeout_ms(geography: Geography, members: Sequence[int]) -> int:
    """Ten of the longest round trips between members."""
    far = max(geography.between_ms(a, b) for a in members for b in members)
    return int(max(LEAST_TIMEOUT_MS, BROADCASTS * (far * (1 + 4 * geography.jitter) + 2 * geography.disk_ms)))


def set_up(mode: Mode, geography: Geography, members: Sequence[int], leader: int, seed: int) -> Scene:
    """A cluster in these sites, led (if it has a leader) from the place `leader` among them."""
    ordered = [members[leader], *members[:leader], *members[leader + 1 :]]
    if mode.store in PROTOCOLS:
        timeout = timeout_ms(geography, members) * MILLISECOND
        stage: Scene = Stage(
            geography,
            ordered,
            seed=seed,
            protocol=mode.store,
            config=EngineConfig(replica=ReplicaConfig(election_timeout=timeout, heartbeat_interval=timeout // 7)),
            settings=Settings(lease_reads=mode.lease, lease_ms=timeout // MILLISECOND),
        )
        stage.lead(1)
        return stage
    far = max(geography.between_ms(a, b) for a in members for b in members)
    skews = {len(ordered): -(SKEW_TRIPS * far + SKEW_MS)}
    scene = ReferenceStage(
        geography, ordered, seed=seed, reference=_REFERENCES[mode.store](len(ordered)), skews_ms=skews
    )
    scene.wait_for_leader()
    return scene


_REFERENCES: Final[dict[str, Callable[[int], Reference]]] = {
    "abd": lambda count: reference("abd"),
    "dynamo": lambda count: dynamo(Replication(n=3, r=2, w=2, sloppy=True)),
    "dynamo-1": lambda count: dynamo(Replication(n=count, r=1, w=1)),
    "primary-backup": lambda count: reference("primary-backup"),
}
