"""The state that a data directory begins with, instead of nothing: what `coterie restore` leaves for the first start.

It is one file in the data directory, in the format of snapshots (`snapshot_format`), of no cluster and at no entry, for
there is none yet: who the members are is agreed on at the first start. Its content is the index of the entry that the
log is to begin after (8 bytes, big-endian), and the machine's state. The SHA-256 of the content is the seed's *digest*:
members that start together must have the same.

The file gets its name when it is durable. What has the other name is half of one, and such a directory is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from hashlib import sha256

from coterie.core.types import NO_EPOCH, Index, Membership, SnapshotMeta
from coterie.storage.errors import SnapshotDamaged, WrongSnapshot
from coterie.storage.files import Files
from coterie.storage.identity import IDENTITY_NAME, within
from coterie.storage.refusal import DirectoryRefused, Refusal
from coterie.storage.snapshot_files import Snapshot, SnapshotWriter, content
from coterie.storage.snapshot_format import SnapshotHeader, snapshot_name

SEED_NAME = "restored"
NEW_SEED_NAME = "restored.new"
INDEX_BYTES = 8
MAX_INDEX = 1 << 43
"""Ids are made from an index, and fit their 63 bits up to here (`machine.sessions.session_id`)."""
_NO_CLUSTER = 0
_META = SnapshotMeta(0, NO_EPOCH, Membership((), ()))
_NAME = snapshot_name(_META)
_AGAIN = "remove the directory, and restore the snapshot file again"


class Seed:
    """A whole seed in a data directory."""

    def __init__(self, files: Files, directory: str) -> None:
        """For `find_seed` alone."""
        self._files = files
        self._directory = directory

    def content(self) -> Iterator[bytes]:
        """Index and state, in pieces, each checked before it is handed out; from the beginning each time. Raises
        `DirectoryRefused` if they are damaged, also after the last piece; `OSError`."""
        file = self._files.open(within(self._directory, SEED_NAME))
        try:
            yield from content(file, _NAME, _NO_CLUSTER)
        except (SnapshotDamaged, WrongSnapshot) as error:
            raise DirectoryRefused(
                Refusal.DAMAGED,
                f"the state that was restored into {self._directory} is damaged: {error}",
                advice=f"{_AGAIN}: this member has not started yet, so nothing is lost",
            ) from error
        finally:
            file.close()

    def digest(self) -> bytes:
        """SHA-256 of the content: all of it is read, and so checked. Raises what `content` raises."""
        found = sha256()
        for piece in self.content():
            found.update(piece)
        return found.digest()

    def parted(self) -> tuple[Index, Iterator[bytes]]:
        """The index of the entry that the log begins after, and the machine's state. Raises what `content` raises."""
        pieces = self.content()
        head = b""
        for piece in pieces:
            head += piece
            if len(head) >= INDEX_BYTES:
                break
        index = int.from_bytes(head[:INDEX_BYTES], "big")
        if len(head) < INDEX_BYTES or not 0 < index <= MAX_INDEX:
            raise DirectoryRefused(
                Refusal.DAMAGED, f"the state in {self._directory} is of entry {index}, which cannot be", advice=_AGAIN
            )
        return index, _chained(head[INDEX_BYTES:], pieces)


def find_seed(files: Files, directory: str) -> Seed | None:
    """The seed of a directory without an identity; None if there is none. Raises `DirectoryRefused` if one was begun
    and not finished, `OSError`."""
    if files.exists(within(directory, SEED_NAME)):
        return Seed(files, directory)
    if files.exists(within(directory, NEW_SEED_NAME)):
        raise DirectoryRefused(
            Refusal.UNFINISHED,
            f"a snapshot file was being restored into {directory}, and that was not finished",
            advice="run the same `coterie restore` again: it begins anew; or remove the directory",
        )
    return None


def refuse_to_join(files: Files, directory: str) -> None:
    """Raise `DirectoryRefused` if the directory has a seed: a cluster that runs has another state. `OSError`."""
    if find_seed(files, directory) is not None:
        raise DirectoryRefused(
            Refusal.OTHER_MEMBER,
            f"the data directory {directory} holds the state of a snapshot file, for a new cluster: it cannot join one "
            "that runs",
            advice="give the node that joins an empty directory: the cluster's state comes to it",
        )


def write_seed(files: Files, directory: str, pieces: Iterable[bytes]) -> bytes:
    """Make the seed of a directory that exists, and that holds nothing of a member; returns its digest. Durable on
    return, the directory's own name apart. What an earlier attempt left half done is replaced.

    Raises what `pieces` raise, and `OSError`; then no part of it is left, unless the process or the disk dies.
    """
    for name in (SEED_NAME, IDENTITY_NAME):
        if files.exists(within(directory, name)):
            raise ValueError(f"{directory} holds {name!r} already")

    def publish(unnamed: str, snapshot: Snapshot) -> Snapshot:
        files.rename(unnamed, within(directory, SEED_NAME))
        files.sync_directory(directory)
        return snapshot

    header = SnapshotHeader(_NO_CLUSTER, _META)
    writer = SnapshotWriter(files, within(directory, NEW_SEED_NAME), header, publish, lambda: None)
    digest = sha256()
    try:
        # From here on a crash leaves what is refused, not a directory that looks new.
        files.sync_directory(directory)
        for piece in pieces:
            digest.update(piece)
            writer.write(piece)
        writer.finish()
    except BaseException:
        with suppress(OSError):  # the first error tells more
            writer.abandon()
        raise
    return digest.digest()


def remove_seed(files: Files, directory: str) -> None:
    """The member has started: the log and its snapshot hold what the seed held. Raises `OSError`."""
    if files.exists(within(directory, SEED_NAME)):
        files.remove(within(directory, SEED_NAME))
        files.sync_directory(directory)


def _chained(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest
