"""What this node knows of the members for certain: who was removed, and which data directory has which id.

Who was removed is remembered beside the log, so that a removed member that comes back after everybody
restarted is still told so. The file is not synced: if it is lost, the removed member is not told, only
left alone; it has no vote either way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from coterie.core.types import Member, MemberId
from coterie.runtime.log_lines import Lines
from coterie.storage.files import Files

REMOVED_NAME = "removed"
NEW_REMOVED_NAME = "removed.new"
MAX_FILE_BYTES = 256 * 1024
MAX_REMEMBERED = 1024
"""Removed members; the one removed first is forgotten for one more."""

_decoder: msgspec.json.Decoder[dict[str, str]] = msgspec.json.Decoder(dict[str, str])


class Register:
    """Removed members by id, and the claims of present ones."""

    def __init__(
        self,
        removed: dict[MemberId, str] | None = None,
        on_change: Callable[[dict[MemberId, str]], None] | None = None,
    ) -> None:
        """`removed`: names of the removed members, by id. `on_change` gets all of them when one was added."""
        self._removed = dict(removed or {})
        self._on_change = on_change
        self._claims: dict[MemberId, int] = {}

    def was_removed(self, member: MemberId) -> bool:
        """Whether the member was removed. An id never comes back."""
        return member in self._removed

    def claim_of(self, member: MemberId) -> int:
        """The claim of the data directory that joined with this id; 0: a first member's, or not known here."""
        return self._claims.get(member, 0)

    def remove(self, member: Member) -> None:
        """A member was removed, for certain."""
        if member.id in self._removed:
            return
        if len(self._removed) >= MAX_REMEMBERED:
            del self._removed[next(iter(self._removed))]
        self._removed[member.id] = member.name
        if self._on_change is not None:
            self._on_change(self._removed)

    def members(self, members: Iterable[Member]) -> None:
        """The members as they now are."""
        self._claims = {member.id: member.claim for member in members if member.claim}


class RegisterFile:
    """Where removed members are kept between this node's starts."""

    def __init__(self, files: Files, directory: str, lines: Lines) -> None:
        """`directory`: this node's data directory."""
        self._files = files
        self._path = f"{directory.rstrip('/')}/{REMOVED_NAME}"
        self._new = f"{directory.rstrip('/')}/{NEW_REMOVED_NAME}"
        self._lines = lines

    def load(self) -> Register:
        """What was known when this node ended, kept up to date in the file from now on."""
        return Register(self._read(), self._write)

    def _read(self) -> dict[MemberId, str]:
        try:
            if not self._files.exists(self._path):
                return {}
            file = self._files.open(self._path)
            try:
                data = file.read_at(0, MAX_FILE_BYTES)
            finally:
                file.close()
            return {int(member, 16): name for member, name in _decoder.decode(data).items()}
        except (OSError, ValueError) as error:
            self._lines.warning("removed-unreadable", path=self._path, problem=error)
            return {}

    def _write(self, removed: dict[MemberId, str]) -> None:
        data = msgspec.json.encode({f"{member:016x}": name for member, name in removed.items()})
        try:
            if self._files.exists(self._new):
                self._files.remove(self._new)
            file = self._files.open(self._new, create=True)
            try:
                file.write_at(0, data)
            finally:
                file.close()
            self._files.rename(self._new, self._path)
        except OSError as error:
            self._lines.warning("removed-unwritten", path=self._path, problem=error)
