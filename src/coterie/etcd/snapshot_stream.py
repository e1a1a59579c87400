"""Maintenance.Snapshot: the member's whole state as a file that etcd's tools take, in pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from google.protobuf.message import DecodeError

from coterie.etcd.backup.saving import Chunk, SavedSnapshot
from coterie.etcd.calls import Stream
from coterie.etcd.status import Code
from coterie.etcd.wire import rpc

UNSENT_BYTES = 1024 * 1024
"""No more is read from the file while so much waits for the caller."""

Make = Callable[[Callable[[SavedSnapshot | str], None]], None]
"""Has the file made, and tells when it is there, or what went wrong."""


class SnapshotStream:
    """One call."""

    def __init__(self, stream: Stream, make: Make, closed: Callable[[SnapshotStream], None]) -> None:
        """`closed`: told once, when it is over."""
        self._stream = stream
        self._make = make
        self._closed = closed
        self._saved: SavedSnapshot | None = None
        self._chunks: Iterator[Chunk] = iter(())
        self._begun = self._over = False

    def received(self, message: bytes) -> bool:
        """See `Handler`: the one message begins it."""
        if not self._begun:
            self._begun = True
            try:
                rpc.SnapshotRequest.FromString(message)
            except DecodeError as error:
                self._end(Code.INTERNAL, f"grpc: error unmarshalling request: {error}")
            else:
                self._make(self._made)
        return True

    def _made(self, saved: SavedSnapshot | str) -> None:
        if isinstance(saved, str):
            self._end(Code.UNAVAILABLE, saved)
        elif self._over:
            saved.close()
        else:
            self._saved = saved
            self._chunks = saved.chunks()
            self._pump()

    def _pump(self) -> None:
        """Send until enough waits."""
        try:
            while self._stream.unsent < UNSENT_BYTES:
                chunk = next(self._chunks, None)
                if chunk is None:
                    self._end(Code.OK, "")
                    return
                response = rpc.SnapshotResponse(remaining_bytes=chunk.remaining, blob=chunk.blob)
                self._stream.send(response.SerializeToString())
        except OSError as error:
            self._end(Code.UNAVAILABLE, f"the snapshot could not be read: {error}")

    def drained(self) -> None:
        """See `Handler`."""
        if self._saved is not None and not self._over:
            self._pump()

    def ended(self) -> None:
        """See `Handler`."""

    def cancelled(self) -> None:
        """See `Handler`."""
        self._close()

    def _end(self, code: Code, text: str) -> None:
        if not self._over:
            self._stream.finish(code, text)
        self._close()

    def _close(self) -> None:
        if not self._over:
            self._over = True
            self._closed(self)
        if self._saved is not None:
            self._saved.close()
            self._saved = None
