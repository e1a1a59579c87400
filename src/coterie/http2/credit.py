"""How much a client may send: the windows that we give (RFC 9113, section 5.2), and what we hold because of them.

The connection's window is filled up at once, so that a stream which nobody reads holds up no other. A stream's window
is filled up as the application reads its messages: whoever sends faster than is read is stopped. Only the rest of a
message under way, which nobody can read, is granted as soon as its length is known; all grants together stay below a
limit, and wait for their turn there.
"""

from __future__ import annotations

from collections import deque

from coterie.http2.answers import Status
from coterie.http2.errors import CallFault, ConnectionFault, ErrorCode, StreamFault
from coterie.http2.frames import window_update
from coterie.http2.limits import STREAM_WINDOW_BYTES, Limits
from coterie.http2.stream import Stream


class Credit:
    """The windows of one connection and its streams."""

    def __init__(self, limits: Limits, out: list[bytes]) -> None:
        """`out`: where frames go."""
        self._out = out
        self._full = limits.connection_window_bytes
        self._limit = limits.max_received_bytes
        self._left = self._full
        self.held = 0
        """Bytes received and not read, or granted; all streams."""
        self._grants = 0
        """Granted for messages under way: half of the limit is for them, half for what comes without being asked."""
        self._waiting: dict[int, Stream] = {}
        """Streams whose message under way waits for a grant, the oldest first."""

    def arrived(self, size: int) -> None:
        """DATA came, on whichever streams. Raises `ConnectionFault`."""
        self._left -= size
        if self._left < 0:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "more DATA than the connection's window allows")
        if self._left * 2 < self._full:
            self._out.append(window_update(0, self._full - self._left))
            self._left = self._full

    def take(self, stream: Stream, size: int, padding: int) -> None:
        """DATA came on a stream; of its `size`, `padding` is thrown away. Raises `StreamFault`, `CallFault`."""
        stream.receivable -= size
        if stream.receivable < 0:
            raise StreamFault(ErrorCode.FLOW_CONTROL_ERROR, "more DATA than the stream's window allows")
        kept = size - padding
        stream.owed += padding
        covered = min(kept, stream.granted)
        stream.granted -= covered
        stream.held += kept - covered
        self.held += kept - covered
        if self.held > self._limit:
            text = f"the messages under way on this connection take more than {self._limit} bytes"
            raise CallFault(Status.RESOURCE_EXHAUSTED, text)

    def whole(self, stream: Stream, size: int) -> None:
        """A message is whole, and the application is given it."""
        if stream.unread is None:
            stream.unread = deque()
        stream.unread.append((size, size - stream.extra))
        if stream.extra:
            self._grants -= stream.extra
            stream.extra = 0
            self._turns()

    def read(self, stream: Stream) -> None:
        """The application has read the oldest message that it was given."""
        if not stream.unread:
            return
        size, freed = stream.unread.popleft()
        stream.owed += freed
        stream.held -= size
        self.held -= size
        if stream.owed * 2 >= STREAM_WINDOW_BYTES:
            self._give(stream, stream.owed)
            stream.owed = 0
        self.want(stream)

    def want(self, stream: Stream) -> None:
        """Grant what the message under way lacks, if the application has read what came before it."""
        assembly = stream.assembly
        if assembly is None or not assembly.needed or stream.unread or stream.ended:
            return
        lacking = assembly.needed - assembly.held - stream.receivable
        if lacking <= 0:
            return
        owed, stream.owed = stream.owed, 0
        lacking = max(0, lacking - owed)
        if self._grants + lacking > self._limit // 2:
            self._waiting.setdefault(stream.number, stream)
            lacking = 0
        else:
            self._waiting.pop(stream.number, None)
            self._grants += lacking
            stream.granted += lacking
            stream.extra += lacking
            stream.held += lacking
            self.held += lacking
        if owed + lacking:
            self._give(stream, owed + lacking)

    def forget(self, stream: Stream) -> None:
        """The client sends nothing more on the stream."""
        self._waiting.pop(stream.number, None)
        self.held -= stream.held
        stream.held = 0
        stream.unread = None
        if stream.extra:
            self._grants -= stream.extra
            stream.extra = stream.granted = 0
            self._turns()

    def _give(self, stream: Stream, size: int) -> None:
        stream.receivable += size
        self._out.append(window_update(stream.number, size))

    def _turns(self) -> None:
        """Whoever waits longest first; nobody overtakes, or a large message might wait for ever."""
        while self._waiting:
            number, stream = next(iter(self._waiting.items()))
            self.want(stream)
            if number in self._waiting:
                return
