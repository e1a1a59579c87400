"""The data directory of one node, opened: who it is, and its log."""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import msgspec

from coterie.core.protocols import DEFAULT_PROTOCOL
from coterie.core.types import Member, MemberId
from coterie.engine.snapshots import NoState
from coterie.machine.durable import DurableMachine
from coterie.machine.interface import StateMachine
from coterie.machine.stores import OrderedStore, open_store
from coterie.runtime.boots import BootsFile
from coterie.runtime.configuration import NodeConfiguration
from coterie.runtime.errors import StartFailed
from coterie.runtime.handshake import Boots
from coterie.runtime.log_lines import Lines
from coterie.runtime.planting import begin_restored
from coterie.runtime.register import Register, RegisterFile
from coterie.storage.directory import DataDirectory
from coterie.storage.disk import DiskFiles
from coterie.storage.errors import LogDamaged
from coterie.storage.first_entry import cluster_id, first_entry
from coterie.storage.frame import Pledge
from coterie.storage.identity import read_identity, within
from coterie.storage.log_store import LogHeader, LogStore
from coterie.storage.refusal import refusing
from coterie.storage.salvage import is_alone, newest_membership, salvage
from coterie.storage.seed import refuse_to_join, remove_seed
from coterie.storage.snapshots import SnapshotDirectory

T = TypeVar("T")

STORE_NAME = "store"
"""Of the directory, in the data directory, that a durable machine's store is in."""


class Place(msgspec.Struct, frozen=True):
    """Which member of which cluster a new data directory is to be."""

    cluster: int
    member: MemberId
    claim: int
    protocol: str


class OpenDisk:
    """The data directory and, once it is created or opened, the log in it."""

    @staticmethod
    def is_new(config: NodeConfiguration) -> bool:
        """Whether there is no data directory yet. Raises `CoterieError`: damaged, unreadable; of a node that is to
        join, also where a state was restored: no cluster that runs need be asked then."""
        with refusing(config.data):
            new = read_identity(DiskFiles(), config.data) is None
            if new and config.join:
                refuse_to_join(DiskFiles(), config.data)
            return new

    def __init__(self, config: NodeConfiguration, place: Place | None = None) -> None:
        """Opens (and makes, if there is none) the directory `config.data`, and locks it. `place`: make it for this
        member of a cluster that runs.

        Raises `CoterieError`: in use, of another member, read-only, damaged.
        """
        self._config = config
        self._files = DiskFiles()
        if place is None:
            self.directory = DataDirectory.open(self._files, config.data, config.name, self._wanted_protocol())
        else:
            self.directory = DataDirectory.join(
                self._files,
                config.data,
                config.name,
                place.protocol,
                member=place.member,
                cluster=place.cluster,
                claim=place.claim,
            )
        self._log: LogStore | None = None
        self._snapshots: SnapshotDirectory | None = None
        self._boots: BootsFile | None = None

    def _wanted_protocol(self) -> str:
        """The configured one. If none is, the directory tells, for a cluster keeps the protocol that it began with."""
        if self._config.protocol:
            return self._config.protocol
        with refusing(self._config.data):
            identity = read_identity(self._files, self._config.data)
        return identity.protocol if identity is not None else DEFAULT_PROTOCOL

    @property
    def member(self) -> MemberId:
        """The id minted when the directory was made."""
        return self.directory.member_id

    @property
    def protocol(self) -> str:
        """The consensus protocol that the log is kept for."""
        return self.directory.protocol

    @property
    def boot(self) -> int:
        """How often the directory was opened, this time included."""
        return self.directory.boot

    @property
    def claim(self) -> int:
        """64 random bits by which the cluster knows this directory, if it joined one that ran; else 0."""
        return self.directory.claim

    @property
    def starts(self) -> tuple[int, ...]:
        """64 random bits of each of the last starts, the present one last."""
        return self.directory.starts

    @property
    def cluster(self) -> int | None:
        """The cluster's id, if this member has started before."""
        return self.directory.cluster

    def create_log(self, members: tuple[Member, ...]) -> int:
        """Make the log with its first entry, made from the first members, or, after a restore, on top of the state that
        was restored; returns the cluster's id. A crash in between: call it again."""
        if self.directory.restored:
            return self._attempt(partial(begin_restored, self._files, self.directory, members))
        entry = first_entry(members)
        cluster = cluster_id(entry)
        header = LogHeader(cluster, self.member, self.protocol)
        self._attempt(lambda: LogStore.create(self._files, self.directory.log_directory, header, (entry,))).close()
        self.directory.mark_started(cluster)
        return cluster

    def join_log(self) -> None:
        """Make the empty log of a directory that joins a cluster. A crash in between: call it again."""
        cluster = self.directory.cluster
        assert cluster is not None
        header = LogHeader(cluster, self.member, self.protocol)
        self._attempt(lambda: LogStore.create(self._files, self.directory.log_directory, header, ())).close()
        self.directory.mark_started(cluster)

    def open_log(self, cluster: int) -> LogStore:
        """Open the log; of a directory that joins, make it first; one that is damaged is begun anew, to be repaired by
        the others. Raises `CoterieError`: damaged beyond that, of another member, cluster or protocol."""
        if self.directory.joining:
            self.join_log()
        if self.directory.restored:
            self._attempt(lambda: remove_seed(self._files, self.directory.path))
        try:
            self._log = self._attempt(lambda: LogStore.open(self._files, *self._log_of(cluster)))
        except LogDamaged as damage:
            pledge = self._attempt(partial(salvage, self._files, self.directory.log_directory, self.member, damage))
            self._begin_anew(cluster, pledge, str(damage))
        assert self._log is not None
        return self._log

    def begin_log_anew(self, cluster: int, lost: NoState) -> LogStore:
        """The state that the log begins after is lost: have others give back that, and all the log. Raises `lost` if
        nobody else has it."""
        log = self._log
        assert log is not None
        if not lost.repairable or is_alone(newest_membership(log.recovered), self.member):
            raise lost
        log.close()
        return self._begin_anew(cluster, log.pledge, str(lost))

    def _begin_anew(self, cluster: int, pledge: Pledge, why: str) -> LogStore:
        self._log = self._attempt(lambda: LogStore.begin_anew(self._files, *self._log_of(cluster), pledge))
        self._log.notices = (f"begun anew, to be repaired by the others: {why}", *self._log.notices)
        return self._log

    def _log_of(self, cluster: int) -> tuple[str, LogHeader]:
        return self.directory.log_directory, LogHeader(cluster, self.member, self.protocol)

    def snapshots(self, cluster: int) -> SnapshotDirectory:
        """The snapshots in the directory, which is made if it is not there."""
        self._snapshots = self._attempt(
            lambda: SnapshotDirectory(self._files, self.directory.snapshot_directory, cluster)
        )
        return self._snapshots

    def open_store(self, machine: StateMachine) -> OrderedStore | None:
        """The store of a machine that keeps its state in one; None for others. The host closes it."""
        if not isinstance(machine, DurableMachine):
            return None
        return open_store(within(self._config.data, STORE_NAME))

    def register(self, lines: Lines) -> Register:
        """The removed members, as far as this directory remembers them."""
        return RegisterFile(self._files, self._config.data, lines).load()

    def boots(self, lines: Lines) -> Boots:
        """The boots of other members, as far as this directory remembers them."""
        self._boots = BootsFile(self._files, self._config.data, lines)
        return self._boots.load()

    def close(self) -> None:
        """Close the log and unlock the directory."""
        if self._log is not None:
            self._log.close()
            self._log = None
        if self._snapshots is not None:
            self._snapshots.close()
            self._snapshots = None
        if self._boots is not None:
            self._boots.close()
            self._boots = None
        self.directory.close()

    def _attempt(self, work: Callable[[], T]) -> T:
        """Do it; an `OSError` becomes one clear line."""
        try:
            return work()
        except OSError as error:
            reason = error.strerror or str(error)
            if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
                reason = f"it cannot be written ({reason})"
            raise StartFailed(
                f"cannot use the data directory {self._config.data}: {reason}",
                advice="check its path, its owner, free space and how it is mounted",
            ) from error
