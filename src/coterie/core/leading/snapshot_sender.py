"""The leader's side of snapshots: for followers that need what the log no longer holds (Raft 7)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from coterie.core.leading.progress import Progress
from coterie.core.messages import InstallSnapshot
from coterie.core.replica import SnapshotReader
from coterie.core.snapshot_transfer import Outgoing, Throttle
from coterie.core.state import State
from coterie.core.types import NO_EPOCH, Index, MemberId, Nanos
from coterie.core.whims import Whim

CAUGHT_UP = 64
"""Entries behind the end of the log from which on a follower that got a snapshot needs no care any more."""


class SnapshotSender:
    """The transfers of one leadership: to several followers at once, under one throttle, taking turns.

    `wanted`: a follower that lives needs a snapshot and there is none, or it is gone.
    """

    def __init__(self, state: State, reader: SnapshotReader | None, *, lent: bool = False) -> None:
        """`lent`: not by a leader, see `following/loans.py`."""
        self._state = state
        self._lent = lent
        self._reader = reader
        self._throttle = Throttle(state.config.max_snapshot_bytes_per_s)
        self._transfers: dict[MemberId, Outgoing] = {}
        self.wanted = False
        self._catching_up: dict[MemberId, int] = {}
        """Those that got a snapshot and are still far behind; and its bytes."""

    @property
    def active(self) -> bool:
        """Whether some transfer is under way."""
        return bool(self._transfers)

    def offset(self, member: MemberId) -> int:
        """Bytes of its snapshot that the member holds; 0 if none is sent to it."""
        transfer = self._transfers.get(member)
        return transfer.acked if transfer is not None else 0

    def follows_from(self, member: MemberId) -> Index | None:
        """The index of the snapshot that is sent to the member: it will need the entries after it."""
        transfer = self._transfers.get(member)
        return transfer.snapshot.meta.index if transfer is not None else None

    def ends(self, now: Nanos, progress: Mapping[MemberId, Progress]) -> list[tuple[Index, int]]:
        """After which entry each follower will go on that is being sent a snapshot, or has still to catch up from
        one, and the bytes of that snapshot. A silent one holds nothing back."""
        last, timeout = self._state.log.last_index, self._state.config.election_timeout
        self._catching_up = {
            member: size
            for member, size in self._catching_up.items()
            if member in progress and progress[member].match + CAUGHT_UP < last
        }
        ends = [(t.snapshot.meta.index, t.snapshot.size) for _, t in self._living(now, progress)]
        for member, size in self._catching_up.items():
            if now - progress[member].heard_at <= timeout:
                ends.append((progress[member].match, size))
        return ends

    def begin(self, member: MemberId, progress: Progress) -> bool:
        """Send the member the newest snapshot instead of entries. False if there is none that will do.

        The log must go on where the snapshot ends, or the member would be left with a gap (catalogue N09).
        """
        state = self._state
        snapshot = state.snapshot
        config = state.config
        if snapshot is None or self._reader is None or snapshot.meta.index < state.log.base_index:
            self.wanted = True
            return False
        if config.whims.takes(Whim.SNAPSHOT_GONE):
            self.wanted = True
            return False
        progress.become_snapshot()
        self._transfers[member] = Outgoing(
            snapshot,
            config.max_snapshot_chunk_bytes,
            config.max_inflight_snapshot_chunks,
            patience=config.election_timeout // 2,
        )
        return True

    def end(self, member: MemberId) -> None:
        """The member has what it needs, or is no follower any more."""
        transfer = self._transfers.pop(member, None)
        if transfer is not None:
            self._catching_up[member] = transfer.snapshot.size

    def interrupted(self, member: MemberId) -> None:
        """The connection to the member closed: what was under way is lost."""
        transfer = self._transfers.get(member)
        if transfer is not None:
            transfer.interrupted()

    def answered(self, now: Nanos, member: MemberId, index: Index, offset: int) -> None:
        """The member holds `offset` bytes of the snapshot at `index`."""
        transfer = self._transfers.get(member)
        if transfer is not None and transfer.snapshot.meta.index == index:
            transfer.answered(now, offset)

    def send(self, now: Nanos, progress: Mapping[MemberId, Progress], round_number: int) -> None:
        """Send what windows and throttle allow, one chunk to each follower in turn."""
        for member in [member for member in self._transfers if member not in progress]:
            self.end(member)
        for _, transfer in self._living(now, progress):
            transfer.look(now)
        busy = True
        while busy:
            busy = False
            for member, transfer in list(self._living(now, progress)):
                piece = transfer.next_piece()
                if piece is None or (piece[1] > 0 and now < self._throttle.opens_at):
                    continue
                busy = True
                if self._send_piece(now, member, transfer, piece, round_number):
                    # To the back of the line: a slow throttle must not feed one and starve the others.
                    self._transfers[member] = self._transfers.pop(member)
                else:
                    progress[member].become_probe()
                    self.begin(member, progress[member])

    def needs(self, now: Nanos, progress: Mapping[MemberId, Progress]) -> list[Index]:
        """For each follower that lives, the index after which it needs entries: the log should not be compacted past
        it. One that is silent for an election timeout holds nothing back."""
        timeout = self._state.config.election_timeout
        living = [(member, p) for member, p in progress.items() if now - p.heard_at <= timeout]
        return [max(p.match, self.follows_from(member) or 0) for member, p in living]

    def _send_piece(
        self, now: Nanos, member: MemberId, transfer: Outgoing, piece: tuple[int, int], round_number: int
    ) -> bool:
        """Read and send one chunk. False, and the transfer is over, if the snapshot is gone."""
        state, (meta, size) = self._state, transfer.snapshot
        offset, limit = piece
        data = b""
        if limit > 0:
            assert self._reader is not None
            try:
                data = self._reader.chunk(meta.index, offset, limit)
            except LookupError:
                data = b""
            if not data:
                if state.snapshot == transfer.snapshot:
                    state.snapshot = None
                self.end(member)
                return False
            self._throttle.took(now, len(data))
        epoch = NO_EPOCH if self._lent else state.epoch
        message = InstallSnapshot(epoch, meta, size, offset, data, round_number)
        state.outbox.post(member, message)
        if state.config.whims.takes(Whim.CHUNK_TWICE):
            state.outbox.post(member, message)
        transfer.sent(now, len(data))
        return True

    def _living(self, now: Nanos, progress: Mapping[MemberId, Progress]) -> Iterator[tuple[MemberId, Outgoing]]:
        """Transfers to followers that answer: nothing is read from the disk for one that is dead."""
        timeout = self._state.config.election_timeout
        for member, transfer in self._transfers.items():
            follower = progress.get(member)
            if follower is not None and now - follower.heard_at <= timeout:
                yield member, transfer

    def deadline(self, now: Nanos, progress: Mapping[MemberId, Progress]) -> Nanos | None:
        """When a chunk may go, or an answer is overdue."""
        times: list[Nanos] = []
        for _, transfer in self._living(now, progress):
            overdue = transfer.deadline()
            if overdue is not None:
                times.append(overdue)
            if transfer.next_piece() is not None:
                times.append(self._throttle.opens_at)
        return min(times, default=None)
