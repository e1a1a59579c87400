"""How often each member was started, as far as this node has seen: what tells a restored disk from the true one.

A member's disk that went back in time has forgotten votes and entries that it had promised to keep. Its
boot counter went back with it, and that is how its peers know. What they know outlives their own
restarts in a small file beside the log. The file is not synced: after a power failure it may be old or
gone, and then only the check is weaker; a member is never refused because of that.
"""

from __future__ import annotations

import msgspec

from coterie.core.types import MemberId
from coterie.runtime.handshake import Boots, Seen
from coterie.runtime.log_lines import Lines
from coterie.storage.files import Files

BOOTS_NAME = "boots"
NEW_BOOTS_NAME = "boots.new"
MAX_FILE_BYTES = 256 * 1024

_decoder: msgspec.json.Decoder[dict[str, tuple[int, int]]] = msgspec.json.Decoder(dict[str, tuple[int, int]])


class BootsFile:
    """Where the boots of other members are kept between this node's starts."""

    def __init__(self, files: Files, directory: str, lines: Lines) -> None:
        """`directory`: this node's data directory."""
        self._files = files
        self._path = f"{directory.rstrip('/')}/{BOOTS_NAME}"
        self._new = f"{directory.rstrip('/')}/{NEW_BOOTS_NAME}"
        self._lines = lines

    def load(self) -> Boots:
        """The boots seen so far, kept up to date in the file from now on."""
        return Boots(self._read(), self._write)

    def _read(self) -> Seen:
        try:
            if not self._files.exists(self._path):
                return {}
            file = self._files.open(self._path)
            try:
                data = file.read_at(0, MAX_FILE_BYTES)
            finally:
                file.close()
            return {int(member, 16): seen for member, seen in _decoder.decode(data).items()}
        except (OSError, ValueError) as error:
            self._lines.warning("boots-unreadable", path=self._path, problem=error)
            return {}

    def _write(self, seen: dict[MemberId, tuple[int, int]]) -> None:
        data = msgspec.json.encode({f"{member:016x}": boot for member, boot in seen.items()})
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
            self._lines.warning("boots-unwritten", path=self._path, problem=error)
