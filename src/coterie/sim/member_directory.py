"""One simulated member's data directory: made or joined, opened, damaged, and its log begun anew."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Final

from coterie.core.types import Entry, Member
from coterie.engine.snapshots import NoState
from coterie.sim.hardware import DIRECTORY, LOG, Hardware
from coterie.sim.verdict import Violation
from coterie.storage.directory import DataDirectory
from coterie.storage.errors import LogDamaged
from coterie.storage.files import Files
from coterie.storage.frame import Pledge
from coterie.storage.log_store import LogHeader, LogStore
from coterie.storage.salvage import is_alone, newest_membership, salvage


class MemberDirectory:
    """What the runtime does with a directory (`runtime/disk.py`), on a simulated disk."""

    def __init__(self, member: Member, header: LogHeader, hardware: Hardware, mint: Random) -> None:
        self.header: Final = header
        self._member = member
        self._hardware = hardware
        self._mint = mint
        self.claim = 0
        """By which the cluster knows it, if it joins one that runs."""
        self.decayed = False
        """It was damaged since its last start; whether that hit anything, nobody knows yet."""
        self.spoiled = False
        """It was ever damaged: what was hit may be found late, as a snapshot is."""
        self.begun_anew = False
        """Its log was begun anew, to be repaired, and the judges do not know yet."""

    def _draw(self) -> int:
        return self._mint.getrandbits(64) | 1

    def make(self, first: Sequence[Entry]) -> None:
        """Of an initial member, whose log begins so."""
        disk, header, drawn = self._hardware.disk, self.header, iter([self._member.id])
        directory = DataDirectory.open(
            disk, DIRECTORY, self._member.name, header.protocol, mint=lambda: next(drawn, 0) or self._draw()
        )
        LogStore.create(disk, directory.log_directory, header, first, segment_bytes=self._hardware.segment_bytes)
        directory.mark_started(header.cluster)
        directory.close()

    def draw_claim(self) -> None:
        """Of a member that joins: it is to be known by this claim."""
        self.claim = self._draw()

    def join(self, files: Files) -> DataDirectory:
        """The directory of a member that joins, made if it is not there."""
        return DataDirectory.join(
            files,
            DIRECTORY,
            self._member.name,
            self.header.protocol,
            member=self._member.id,
            cluster=self.header.cluster,
            claim=self.claim,
            mint=self._draw,
        )

    def open(self, *, joins: bool) -> tuple[DataDirectory, LogStore]:
        """The directory, and the log there, recovered; or begun anew, if it is damaged. `joins`: it may have to be made
        first. Raises `PromisesLost`."""
        files, segment_bytes = self._hardware.frailty, self._hardware.segment_bytes
        if joins:
            directory = self.join(files)
        else:
            directory = DataDirectory.open(files, DIRECTORY, self._member.name, self.header.protocol, mint=self._draw)
        where = directory.log_directory
        if directory.joining:
            LogStore.create(files, where, self.header, (), segment_bytes=segment_bytes).close()
            directory.mark_started(self.header.cluster)
        try:
            return directory, LogStore.open(
                files, where, self.header, segment_bytes=segment_bytes, zero_bytes=self._hardware.zero_bytes
            )
        except LogDamaged as damage:
            self._check_spoiled(damage)
            return directory, self._begin_anew(salvage(files, where, self._member.id, damage))

    def begin_log_anew(self, log: LogStore, lost: NoState) -> LogStore:
        """What the log begins after is lost: the others give it back, and all of the log. Raises `lost` if they
        cannot, or if it may not be lost."""
        if not lost.repairable or is_alone(newest_membership(log.recovered), self._member.id):
            raise lost
        self._check_spoiled(lost)
        log.close()
        return self._begin_anew(log.pledge)

    def _begin_anew(self, pledge: Pledge) -> LogStore:
        self.begun_anew = True
        files, segment_bytes = self._hardware.frailty, self._hardware.segment_bytes
        return LogStore.begin_anew(files, LOG, self.header, pledge, segment_bytes=segment_bytes)

    def _check_spoiled(self, damage: Exception) -> None:
        if not self.spoiled:
            text = f"{self._member.id} finds damage on a sound disk: {damage}"
            raise Violation("torn-start", text) from damage

    def judged_anew(self) -> bool:
        """Whether the log was begun anew since the judges last looked: once."""
        anew, self.begun_anew = self.begun_anew, False
        return anew
