"""A caller of the Watch service: watches that go on elsewhere when their stream is cut, and readers that are slow."""

from __future__ import annotations

from typing import Final

from coterie.core.types import MemberId
from coterie.etcd.calls import Caller
from coterie.etcd.wire import kv as wire
from coterie.etcd.wire import rpc
from coterie.sim.api.caller import ApiCaller, Method, Refused
from coterie.sim.api.judge import ApiHistory
from coterie.sim.api.watches import NO_DELETIONS, NO_PUTS, Watched
from coterie.sim.api.wire import UNBOUNDED, Call, Calls
from coterie.sim.chance import happens
from coterie.sim.options import Options
from coterie.sim.verdict import Violation

WATCH: Final = Method("/etcdserverpb.Watch/Watch", rpc.WatchResponse)
STREAMS: Final = 2
WATCHES: Final = (1, 2, 3)
"""Of one stream."""
WINDOW: Final = 300
"""Bytes that a slow reader is sent before it reads."""
MAX_UNREAD: Final = 10_000
"""Messages of a slow reader's: more there are not, for its window is small."""
RANGES: Final = ((b"e", b"f"), (b"e0", b""), (b"e1", b"e4"), (b"r", b"s"), (b"", b"\0"), (b"l", b"m"), (b"c1", b""))
ALL_WATCHES: Final = -1
CUT_PERMILLE: Final = 10
"""Thoughts in a thousand at which a stream is given up, or cut."""
PROGRESS_PERMILLE: Final = 60
WIRE_FILTERS: Final = {NO_PUTS: rpc.WatchCreateRequest.NOPUT, NO_DELETIONS: rpc.WatchCreateRequest.NODELETE}
BACK: Final = (0, 0, 1, 5, 40)
"""Revisions before the newest at which a watch begins."""


class _Stream:
    """One stream of watches."""

    def __init__(self, slow: bool) -> None:
        self.slow = slow
        self.call: Call | None = None
        self.watches: list[Watched] = []
        self.created: dict[int, Watched] = {}
        """By the id that the member gave."""
        self.asked: list[Watched] = []
        """Creations without an answer, in order."""
        self.unread: list[tuple[rpc.WatchResponse, int]] = []
        self.fragments: dict[int, list[wire.Event]] = {}


class WatchCaller(ApiCaller):
    """It watches."""

    def __init__(self, number: int, options: Options, members: list[MemberId], calls: Calls, judge: ApiHistory) -> None:
        super().__init__(number, options, members, calls, judge)
        self._streams = [_Stream(slow=number % 2 > 0) for number in range(STREAMS)]

    @property
    def at_rest(self) -> bool:
        """See `ApiCaller`: all that happened was told."""
        return all(not watch.behind for watch in self._watches())

    @property
    def state(self) -> str:
        """See `ApiCaller`."""
        return f"behind: {[str(watch) for watch in self._watches() if watch.behind]}"

    def _watches(self) -> list[Watched]:
        return [watch for stream in self._streams for watch in stream.watches]

    def do(self) -> None:
        """See `ApiCaller`."""
        stream = self.rng.choice(self._streams)
        if stream.call is None:
            return
        if len(stream.watches) < self.rng.choice(WATCHES):
            self._add(stream)
        elif happens(self.rng, PROGRESS_PERMILLE):
            self._calls.say(stream.call, _progress())
        elif happens(self.rng, CUT_PERMILLE):
            self._calls.cut(stream.call)
        elif happens(self.rng, CUT_PERMILLE):
            self._calls.cancel(stream.call)
            self._lost(stream)

    def tend(self) -> None:
        """See `ApiCaller`: open what is closed, read what came."""
        for stream in self._streams:
            if stream.call is None:
                self._open(stream)
            if stream.slow and happens(self.rng, 300):
                self._read_some(stream, 1)
            if self.goal and stream.call is not None and stream.call.member not in self._members:
                self._calls.cancel(stream.call)
                self._lost(stream)

    def wind_up(self) -> None:
        """See `ApiCaller`: from now on nobody is slow."""
        for stream in self._streams:
            if stream.slow:
                stream.slow = False
                self._read_some(stream, len(stream.unread))
                if stream.call is not None:
                    self._calls.read(stream.call, UNBOUNDED)

    def forget(self) -> None:
        """See `ApiCaller`."""
        for stream in self._streams:
            if stream.call is not None:
                self._calls.cut(stream.call)
            stream.watches.clear()

    # -- streams -----------------------------------------------------------------------------------

    def _open(self, stream: _Stream) -> None:
        """Open it, at whatever member, and go on with its watches from where they are."""

        def told(message: rpc.WatchResponse, size: int) -> None:
            if stream.slow:
                assert len(stream.unread) < MAX_UNREAD
                stream.unread.append((message, size))
                self.think()
            else:
                self._told(stream, message)

        def ended(refused: Refused) -> None:
            self._lost(stream)

        window = WINDOW if stream.slow else UNBOUNDED
        caller = Caller(require_leader=happens(self.rng, 500))
        stream.call = self.stream(WATCH, told, ended, window=window, caller=caller)
        for watch in stream.watches:
            self._create(stream, watch)

    def _lost(self, stream: _Stream) -> None:
        """What was not read is lost with it."""
        self.judge.figures.resumed += 1
        stream.call = None
        stream.unread.clear()
        stream.created.clear()
        stream.asked.clear()
        stream.fragments.clear()
        self.think()

    def _add(self, stream: _Stream) -> None:
        key, end = self.rng.choice(RANGES)
        filters = self.rng.choice(((), (), (), (NO_PUTS,), (NO_DELETIONS,)))
        start = key or b"\0"
        watch = Watched(self.judge.model, start, end, previous=happens(self.rng, 500), filters=filters)
        if happens(self.rng, 700):
            watch.position = max(1, self.judge.seen + 1 - self.rng.choice(BACK))
        stream.watches.append(watch)
        self._create(stream, watch)

    def _create(self, stream: _Stream, watch: Watched) -> None:
        assert stream.call is not None
        # No start, and one that cannot be, mean: from now on.
        start = watch.position or self.rng.choice((0, -1))
        request = rpc.WatchCreateRequest(
            key=b"" if watch.key == b"\0" else watch.key,
            range_end=watch.end,
            start_revision=start,
            progress_notify=happens(self.rng, 500),
            filters=[WIRE_FILTERS[which] for which in watch.filters],
            prev_kv=watch.previous,
            fragment=happens(self.rng, 500),
        )
        stream.asked.append(watch)
        self._calls.say(stream.call, rpc.WatchRequest(create_request=request).SerializeToString())

    def _read_some(self, stream: _Stream, count: int) -> None:
        taken, stream.unread = stream.unread[:count], stream.unread[count:]
        for message, size in taken:
            if stream.call is None:
                return
            self._calls.read(stream.call, size)
            self._told(stream, message)

    # -- what comes --------------------------------------------------------------------------------

    def _told(self, stream: _Stream, message: rpc.WatchResponse) -> None:
        revision = message.header.revision
        if message.created:
            watch = stream.asked.pop(0)
            if message.canceled:
                raise Violation("watch-complete", f"{watch} is refused: {message.cancel_reason}")
            stream.created[message.watch_id] = watch
            watch.created(revision)
        elif message.canceled:
            self._cancelled(stream, message)
        elif message.events:
            events = [*stream.fragments.pop(message.watch_id, ()), *message.events]
            if message.fragment:
                stream.fragments[message.watch_id] = events
            else:
                stream.created[message.watch_id].told(events)
                self.judge.figures.watched += len(events)
        else:
            self.judge.figures.bookmarks += 1
            of_all = message.watch_id == ALL_WATCHES
            for watch in list(stream.created.values()) if of_all else [stream.created[message.watch_id]]:
                watch.bookmarked(revision)

    def _cancelled(self, stream: _Stream, message: rpc.WatchResponse) -> None:
        watch = stream.created.pop(message.watch_id)
        if not message.compact_revision:
            raise Violation("watch-complete", f"{watch} is cancelled: {message.cancel_reason}")
        watch.compacted(message.compact_revision)
        self.judge.figures.resumed += 1
        if stream.call is not None:
            self._create(stream, watch)


def _progress() -> bytes:
    return rpc.WatchRequest(progress_request=rpc.WatchProgressRequest()).SerializeToString()
