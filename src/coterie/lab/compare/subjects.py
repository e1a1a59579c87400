"""What is compared: the two protocols that ship, and three stores that do not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from coterie.core.protocols import PROTOCOLS
from coterie.core.settings import Settings
from coterie.engine.config import EngineConfig
from coterie.lab.references.catalogue import reference
from coterie.lab.references.dynamo import Replication, dynamo
from coterie.lab.references.replica import Reference
from coterie.lab.references.stage import ReferenceStage
from coterie.lab.stage.cost import FREE, Cost
from coterie.lab.stage.geography import Geography
from coterie.lab.stage.scene import Scene
from coterie.lab.stage.stage import Stage


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """Where and how a subject runs."""

    geography: Geography
    members: Sequence[int]
    """The site of each."""
    seed: int
    loss_permille: int = 0
    cost: Cost = FREE
    config: EngineConfig = EngineConfig()
    """Of a protocol that ships."""
    settings: Settings = Settings()
    """Of a protocol that ships."""
    noticed: bool = False
    """A process that ends closes its connections. (Of a protocol that ships; the references have no use for it.)"""
    skewed: bool = False
    """Member 1's clock is wrong: `AHEAD_MS` ahead, where wall clocks decide; clocks run up to 10 % fast or slow, where
    none does."""


AHEAD_MS: Final = 200.0


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is compared."""

    name: str
    title: str
    stage: Callable[[Setting], Scene]
    led: bool
    """One of its members leads: the nearest to most clients, if that can be chosen."""
    ships: bool = False
    """It is a protocol of Coterie's."""


def _shipped(protocol: str) -> Callable[[Setting], Scene]:
    def stage(setting: Setting) -> Scene:
        made = Stage(
            setting.geography,
            setting.members,
            seed=setting.seed,
            protocol=protocol,
            config=setting.config,
            settings=setting.settings,
            loss_permille=setting.loss_permille,
            cost=setting.cost,
            noticed=setting.noticed,
            drift_ppm=100_000 if setting.skewed else 0,
        )
        made.lead(1)
        return made

    return stage


def _reference(chosen: Callable[[int], Reference]) -> Callable[[Setting], Scene]:
    def stage(setting: Setting) -> Scene:
        made = ReferenceStage(
            setting.geography,
            setting.members,
            seed=setting.seed,
            reference=chosen(len(setting.members)),
            loss_permille=setting.loss_permille,
            cost=setting.cost,
            skews_ms={1: AHEAD_MS} if setting.skewed else None,
        )
        made.wait_for_leader()
        return made

    return stage


def _full_dynamo(members: int) -> Reference:
    """Every member is every key's home, and quorums are majorities: as many copies as the others keep."""
    majority = members // 2 + 1
    return dynamo(Replication(n=members, r=majority, w=majority))


TITLES: Final = {"raft": "Raft", "multipaxos": "Multi-Paxos"}
SUBJECTS: Final[tuple[Subject, ...]] = (
    *(
        Subject(name=name, title=TITLES.get(name, name), stage=_shipped(name), led=True, ships=True)
        for name in PROTOCOLS
    ),
    Subject(name="abd", title="ABD register", stage=_reference(lambda _: reference("abd")), led=False),
    Subject(name="dynamo", title="Dynamo-style, R+W>N", stage=_reference(_full_dynamo), led=False),
    Subject(
        name="primary-backup",
        title="early primary-backup",
        stage=_reference(lambda _: reference("primary-backup")),
        led=True,
    ),
)
SHIPPED: Final = tuple(subject for subject in SUBJECTS if subject.ships)
BY_NAME: Final = {subject.name: subject for subject in SUBJECTS}
