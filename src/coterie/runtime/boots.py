"""How often each member was started, as far as this node has seen: what tells a restored disk from the true one.

A member's disk that went back in time has forgotten votes and entries that it had promised to keep. Its
boot counter went back with it, and that is how its peers know; and where it was started so often that the counter
caught up, the bits of its last starts say that they are others than those seen. What peers know outlives their own
restarts in a small file beside the log, which a thread of its own makes durable: nobody waits for that, so a power
failure in the very moment after a start was seen may take the memory of it. If the file is gone, the check is weaker;
a member is never refused because of that.
"""

from __future__ import annotations

import queue
import re
import threading
import zlib

import msgspec

from coterie.runtime.handshake import Boots, Seen
from coterie.runtime.log_lines import Lines
from coterie.storage.files import Files

BOOTS_NAME = "boots"
NEW_BOOTS_NAME = "boots.new"
MAX_FILE_BYTES = 256 * 1024

_decoder: msgspec.json.Decoder[dict[str, tuple[int, int]]] = msgspec.json.Decoder(dict[str, tuple[int, int]])


_TRAILER = re.compile(rb"\ncrc32 ([0-9a-f]{8})\n\Z")
STOP_TIMEOUT_S = 5.0
"""How long `close` waits for a disk that hangs."""


class BootsFile:
    """Where the boots of other members are kept between this node's starts."""

    def __init__(self, files: Files, directory: str, lines: Lines) -> None:
        """`directory`: this node's data directory."""
        self._files = files
        self._directory = directory.rstrip("/")
        self._path = f"{self._directory}/{BOOTS_NAME}"
        self._new = f"{self._directory}/{NEW_BOOTS_NAME}"
        self._lines = lines
        self._waiting: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def load(self) -> Boots:
        """The boots seen so far, kept up to date in the file from now on, until `close`."""
        return Boots(self._read(), self._keep)

    def close(self) -> None:
        """Wait until what was seen is in the file; again does nothing."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._waiting.put(None)
            thread.join(STOP_TIMEOUT_S)

    def _read(self) -> Seen:
        try:
            if not self._files.exists(self._path):
                return {}
            file = self._files.open(self._path)
            try:
                data = file.read_at(0, MAX_FILE_BYTES)
            finally:
                file.close()
            trailer = _TRAILER.search(data)
            if trailer is not None:  # older versions wrote none
                data = data[: trailer.start()]
                if zlib.crc32(data) != int(trailer[1], 16):
                    raise ValueError("its checksum does not match")
            return {int(member, 16): seen for member, seen in _decoder.decode(data).items()}
        except (OSError, ValueError) as error:
            self._lines.warning("boots-unreadable", path=self._path, problem=error)
            return {}

    def _keep(self, seen: Seen) -> None:
        data = msgspec.json.encode({f"{member:016x}": boot for member, boot in seen.items()})
        self._waiting.put(data + b"\ncrc32 %08x\n" % zlib.crc32(data))
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="coterie-boots", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while (data := self._waiting.get()) is not None:
            try:
                self._write(data)
            except OSError as error:
                self._lines.warning("boots-unwritten", path=self._path, problem=error)

    def _write(self, data: bytes) -> None:
        if self._files.exists(self._new):
            self._files.remove(self._new)
        file = self._files.open(self._new, create=True)
        try:
            file.write_at(0, data)
            file.sync()
        finally:
            file.close()
        self._files.rename(self._new, self._path)
        self._files.sync_directory(self._directory)
