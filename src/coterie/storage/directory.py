"""A member's data directory: whose it is, and what a member must never forget besides its log.

Under the path of the configuration::

    LOCK           held with flock(2) while a process uses the directory; holds that process's pid
    identity       who this member is, its boot counter, its first membership set, its cluster's id (see `identity`)
    identity.new   the next `identity` being written; worth nothing
    restored       the state to begin with, if one was restored, until the first start is done (see `seed`)
    log/           the log store's
    snapshots/     states of the machine, of which one may have to stand in for the log's beginning (see `snapshots`)
"""

from __future__ import annotations

import errno
import secrets
from collections.abc import Callable
from typing import Any

import msgspec

from coterie.core.types import NOBODY, Member, MemberId
from coterie.storage.disk import lock_holder
from coterie.storage.files import Files, Lock
from coterie.storage.identity import (
    ID_LIMIT,
    LOG_NAME,
    MAX_IDENTITY_BYTES,
    MAX_STARTS,
    Identity,
    encode_identity,
    read_identity,
    replace_identity,
    within,
)
from coterie.storage.refusal import DirectoryRefused as DirectoryRefused
from coterie.storage.refusal import Refusal as Refusal
from coterie.storage.refusal import refusing
from coterie.storage.seed import find_seed, refuse_to_join

LOCK_NAME = "LOCK"
SNAPSHOTS_NAME = "snapshots"


def _mint() -> int:
    return secrets.randbits(64)


class DataDirectory:
    """A data directory, opened and locked by this process. Not for use from two threads at once."""

    def __init__(self, files: Files, path: str, lock: Lock, identity: Identity) -> None:
        """For `open` alone."""
        self._files = files
        self._path = path
        self._lock = lock
        self._identity = identity
        self._usable = True

    @classmethod
    def open(
        cls, files: Files, path: str, name: str, protocol: str, *, mint: Callable[[], int] = _mint
    ) -> DataDirectory:
        """Lock the directory at `path` for member `name`, make what is missing, and count one more boot.

        All of it is durable on return: a boot that was told to a peer never comes again, and so the
        ids made from it do not (the engine's command ids are (member, boot, n)). `mint`: 64 random
        bits, for a new member's id and for this start; 0 is drawn again. Raises `DirectoryRefused`; then no
        lock is held.
        """
        return cls._open(files, path, name, protocol, lambda: {"member_id": _draw(mint)}, mint)

    @classmethod
    def join(
        cls,
        files: Files,
        path: str,
        name: str,
        protocol: str,
        *,
        member: MemberId,
        cluster: int,
        claim: int,
        mint: Callable[[], int] = _mint,
    ) -> DataDirectory:
        """Make the directory of a member that joins a cluster which runs: its id, from the cluster's log, and its
        `claim` (64 random bits) are durable on return. So the claim can be told to the cluster over and over: this
        directory is let in, any other is refused. Otherwise as `open`.

        A directory that was half joined, or has joined, as this member and with this claim, is opened. Any other
        is refused: two directories with one id would be two voters with one vote.
        """
        for what, bits in (("member id", member), ("cluster id", cluster), ("claim", claim)):
            if not 0 < bits < ID_LIMIT:
                raise ValueError(f"a {what} is a number of 64 bits and not 0, which {bits} is not")
        made = {"member_id": member, "cluster": cluster, "claim": claim, "joining": True}
        return cls._open(files, path, name, protocol, lambda: made, mint, joins=(member, cluster, claim))

    @classmethod
    def _open(
        cls,
        files: Files,
        path: str,
        name: str,
        protocol: str,
        new: Callable[[], dict[str, Any]],
        mint: Callable[[], int],
        joins: tuple[MemberId, int, int] | None = None,
    ) -> DataDirectory:
        path = path.rstrip("/") or "/"
        with refusing(path):
            parents = make_directory(files, path)
        lock = take_lock(files, path)
        try:
            with refusing(path):
                identity = read_identity(files, path)
                if identity is None:
                    # Until there is an identity, an earlier start may have died before it synced the parents.
                    sync_parents(files, parents)
                    if joins is not None:
                        refuse_to_join(files, path)
                    seed = find_seed(files, path)
                    restored = seed.digest().hex() if seed is not None else ""
                    identity = Identity(name=name, protocol=protocol, boot=0, restored=restored, **new())
                _check(path, identity, name, protocol)
                if joins is not None:
                    _check_joins(path, identity, joins)
                directory = cls(files, path, lock, identity)
                starts = (*identity.starts, _draw(mint))[-MAX_STARTS:]
                directory._write(msgspec.structs.replace(identity, boot=identity.boot + 1, starts=starts))
                return directory
        except BaseException:
            lock.release()
            raise

    @property
    def path(self) -> str:
        return self._path

    @property
    def name(self) -> str:
        """The member's name."""
        return self._identity.name

    @property
    def protocol(self) -> str:
        """The consensus protocol that the log is kept for."""
        return self._identity.protocol

    @property
    def member_id(self) -> MemberId:
        """Minted when the directory was made; never 0."""
        return self._identity.member_id

    @property
    def boot(self) -> int:
        """How often the directory has been opened, this time included."""
        return self._identity.boot

    @property
    def first_members(self) -> tuple[Member, ...] | None:
        """The set that the first start fixed, in the order in which it was given; None before."""
        return self._identity.first_members

    @property
    def cluster(self) -> int | None:
        """The id of the cluster that this member has started in, or joins; None before."""
        return self._identity.cluster

    @property
    def claim(self) -> int:
        """64 random bits by which the cluster knows this directory, if it joined one that ran; else 0."""
        return self._identity.claim

    @property
    def joining(self) -> bool:
        """It was made to join a cluster, and its (empty) log is not there yet, or was not finished."""
        return self._identity.joining

    @property
    def starts(self) -> tuple[int, ...]:
        """64 random bits of each of the last starts, at most `MAX_STARTS`, the present one last. A copy of the
        directory that was started apart from it has others: so members tell it from the true one."""
        return self._identity.starts

    @property
    def restored(self) -> bytes:
        """Digest of the state that this member begins with; empty if it begins with none."""
        return bytes.fromhex(self._identity.restored)

    @property
    def log_directory(self) -> str:
        """Where the log belongs. Not made here."""
        return within(self._path, LOG_NAME)

    @property
    def snapshot_directory(self) -> str:
        """Where snapshots belong. Not made here."""
        return within(self._path, SNAPSHOTS_NAME)

    def fix_first_members(self, members: tuple[Member, ...]) -> None:
        """Keep the set of initial members, durably and for ever.

        The same set again, in any order, does nothing. Two sets from one member could make two clusters,
        each with a quorum, so another one raises `DirectoryRefused`, as does one without this member.
        """
        fixed = self._identity.first_members
        if fixed is not None:
            if sorted(fixed) == sorted(members):
                return
            raise self._settled(
                f"its first members are fixed as {_listed(fixed)}, and cannot become {_listed(members)}"
            )
        if self._identity.cluster is not None:
            raise self._settled("it has started in a cluster already, so it takes no first members")
        if not any(m.id == self.member_id and m.name == self.name for m in members):
            raise self._settled(f"its member {self.name} ({self.member_id:016x}) is not among {_listed(members)}")
        self._store(msgspec.structs.replace(self._identity, first_members=tuple(members)))

    def mark_started(self, cluster: int) -> None:
        """Keep the cluster's id, durably: the log is there and this member belongs to it.

        The same id again does nothing; another raises `DirectoryRefused`. Raises `ValueError` unless it
        has 64 bits and is not 0.
        """
        if not 0 < cluster < ID_LIMIT:
            raise ValueError(f"a cluster id is a number of 64 bits and not 0, which {cluster} is not")
        started = self._identity.cluster
        if started is not None and started != cluster:
            raise self._settled(f"it belongs to cluster {started:016x}, and cannot join cluster {cluster:016x}")
        if started is None or self.joining:
            self._store(msgspec.structs.replace(self._identity, cluster=cluster, joining=False))

    def close(self) -> None:
        """Unlock it; again does nothing."""
        self._usable = False
        self._lock.release()

    def _settled(self, what: str) -> DirectoryRefused:
        return DirectoryRefused(
            Refusal.FIXED,
            f"the data directory {self._path} refuses: {what}",
            advice="correct the initial members in the configuration, or give this member an empty directory",
        )

    def _store(self, identity: Identity) -> None:
        with refusing(self._path):
            self._write(identity)

    def _write(self, identity: Identity) -> None:
        if not self._usable:
            raise DirectoryRefused(
                Refusal.CLOSED,
                f"the data directory {self._path} is closed, or writing to it failed before",
                advice="open it again",
            )
        data = encode_identity(identity)
        if len(data) > MAX_IDENTITY_BYTES:
            raise DirectoryRefused(
                Refusal.FIXED,
                f"the data directory {self._path} cannot keep {len(data)} bytes of first members and names: "
                f"the limit is {MAX_IDENTITY_BYTES}",
                advice="name fewer initial members, and add the others later",
            )
        try:
            replace_identity(self._files, self._path, data)
        except BaseException:
            # Whether the new or the old one survives is not known now; the next open reads it.
            self._usable = False
            raise
        self._identity = identity


def _listed(members: tuple[Member, ...]) -> str:
    return ", ".join(f"{m.name} ({m.id:016x}, {m.peer}, {m.client})" for m in sorted(members)) or "nobody"


def _draw(mint: Callable[[], int]) -> MemberId:
    member = NOBODY
    while member == NOBODY:
        member = mint()
    if not 0 < member < ID_LIMIT:
        raise ValueError(f"a member id is a number of 64 bits, which {member} is not")
    return member


# Making and locking


def make_directory(files: Files, path: str) -> list[tuple[str, bool]]:
    """Make a data directory. Every directory above it, nearest first, and whether one was made in it just now."""
    parents: list[tuple[str, bool]] = []
    child = path
    while child not in ("/", "."):
        head, slash, _ = child.rpartition("/")
        parent = head.rstrip("/") or ("/" if slash else ".")
        parents.append((parent, not files.exists(child)))
        child = parent
    files.make_directory(path)
    return parents


def sync_parents(files: Files, parents: list[tuple[str, bool]]) -> None:
    """Make a data directory itself durable: it is a name in its parent, and that one in its own."""
    for parent, made_in in parents:
        try:
            files.sync_directory(parent)
        except OSError as error:
            # One that was there before, high up, need not let itself be opened or synced.
            if made_in or error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS, errno.EINVAL, errno.ENOENT):
                raise


def take_lock(files: Files, path: str) -> Lock:
    """Keep other processes out of a data directory, which exists. Raises `DirectoryRefused` if one is in it."""
    where = within(path, LOCK_NAME)
    with refusing(path):
        try:
            return files.lock(where)
        except BlockingIOError:
            holder = lock_holder(files, where)
            who = f"process {holder}" if holder else "another process"
            raise DirectoryRefused(
                Refusal.IN_USE,
                f"the data directory {path} is in use by {who}",
                advice="stop that process first, or give each member a directory of its own",
            ) from None


def _check(path: str, identity: Identity, name: str, protocol: str) -> None:
    if identity.name != name:
        raise DirectoryRefused(
            Refusal.OTHER_MEMBER,
            f"the data directory {path} belongs to member {identity.name!r}, not to {name!r}",
            advice="correct the name or the data directory in the configuration",
        )
    if identity.protocol != protocol:
        raise DirectoryRefused(
            Refusal.OTHER_PROTOCOL,
            f"the data directory {path} holds a log of protocol {identity.protocol!r}, not {protocol!r}",
            advice=f"set the protocol to {identity.protocol!r}: a cluster keeps the one that it began with",
        )


def _check_joins(path: str, identity: Identity, joins: tuple[MemberId, int, int]) -> None:
    """Whether a directory that is there already was made to join just so."""
    if (identity.member_id, identity.cluster, identity.claim) == joins:
        return
    member, cluster, _ = joins
    if identity.cluster is None:
        what, then = "a member that was to begin a cluster of its own", "give the node that joins an empty directory"
    elif identity.cluster != cluster:
        what, then = f"a member of cluster {identity.cluster:016x}", f"join that one, not cluster {cluster:016x}"
    elif identity.member_id != member:
        what = f"member {identity.member_id:016x} of the cluster, not {member:016x}: it was removed and added again"
        then = "give the node an empty directory"
    else:
        what, then = "the same member, with another claim", "start it without making it anew"
    raise DirectoryRefused(
        Refusal.OTHER_MEMBER, f"the data directory {path} was made for {what}", advice=f"{then}; nothing was changed"
    )
