"""The Watch service: streams of many watches each (etcd 3.5, api/v3rpc/watch.go)."""

from __future__ import annotations

from collections.abc import Callable

from google.protobuf.message import DecodeError

from coterie.core.types import Nanos
from coterie.etcd.backend import Backend
from coterie.etcd.calls import Caller, Stream
from coterie.etcd.protobuf import varint
from coterie.etcd.status import Code, Refusal, refused
from coterie.etcd.watching import LIMITS, Hub, Watcher, WatchLimits
from coterie.etcd.wire import kv, rpc

FRAGMENT_BYTES = 1536 * 1024
"""A watch that asks for fragments gets no larger answers, unless a single event is."""
MAX_WATCHES = 100_000
"""Of one stream."""
_NAMES = {
    Code.PERMISSION_DENIED: "PermissionDenied",
    Code.UNAUTHENTICATED: "Unauthenticated",
    Code.INVALID_ARGUMENT: "InvalidArgument",
}
ALL_WATCHES = -1
"""As a watch's id: for each of the stream's."""
_WATCH_ID = b"\x10"
"""Of a response's field 2, which is left out if it is 0."""


class WatchService:
    """etcdserverpb.Watch."""

    def __init__(self, backend: Backend, limits: WatchLimits = LIMITS) -> None:
        self._backend = backend
        self.hub = Hub(lambda: backend.machine.store, lambda: not backend.node.restoring, limits)
        self._interval = limits.progress_interval
        self._stall_bytes = limits.stall_bytes
        self._streams: dict[WatchStream, None] = {}
        self._auth_revision = 0
        self._progress_at: Nanos | None = None

    def watch(self, stream: Stream, caller: Caller) -> WatchStream:
        """A new stream."""
        opened = WatchStream(self._backend, self.hub, stream, caller, self._closed, self._stall_bytes)
        self._streams[opened] = None
        return opened

    def _closed(self, stream: WatchStream) -> None:
        self._streams.pop(stream, None)

    def advance(self) -> None:
        """The machine may have moved on."""
        self.hub.advance()
        revision = self._backend.access.auth.revision
        if revision != self._auth_revision:
            self._auth_revision = revision
            for stream in list(self._streams):
                stream.check_permissions()
        for stream in self._streams:
            if stream.progress_wanted:
                stream.tell_progress()

    def leaderless(self) -> None:
        """There has been no leader for long: who asked to be told is."""
        for stream in list(self._streams):
            stream.leaderless()

    def wake(self, now: Nanos) -> Nanos:
        """Tell who asked for it that nothing has changed; returns when to be woken next."""
        if self._progress_at is None:
            self._progress_at = now + self._interval
        elif now >= self._progress_at:
            self._progress_at = now + self._interval
            for stream in self._streams:
                stream.tell_idle()
        return self._progress_at


class WatchStream:
    """One stream: its watches, by id."""

    def __init__(
        self,
        backend: Backend,
        hub: Hub,
        stream: Stream,
        caller: Caller,
        closed: Callable[[WatchStream], None],
        stall_bytes: int,
    ) -> None:
        self._backend = backend
        self._hub = hub
        self._stream = stream
        self._caller = caller
        self._closed = closed
        self._stall_bytes = stall_bytes
        self._watchers: dict[int, Watcher] = {}
        self._fragmented: set[int] = set()
        self._progress: dict[int, bool] = {}
        """Watches that asked for progress; whether each has been told something since the last time."""
        self._stalled: dict[Watcher, None] = {}
        self._next = 0
        self.progress_wanted = False
        self._over = False

    # From the caller

    def received(self, message: bytes) -> bool:
        """See `Handler`."""
        if not self._over:
            self._ask(message)
        return True

    def _ask(self, message: bytes) -> None:
        try:
            request = rpc.WatchRequest.FromString(message)
        except DecodeError as error:
            self._end(Code.INTERNAL, f"grpc: error unmarshalling request: {error}")
            return
        which = request.WhichOneof("request_union")
        if which == "create_request":
            self._create(request.create_request)
        elif which == "cancel_request":
            self._cancel(request.cancel_request.watch_id)
        elif which == "progress_request":
            self.progress_wanted = True
            self.tell_progress()

    def ended(self) -> None:
        """See `Handler`: the watches go on."""

    def cancelled(self) -> None:
        """See `Handler`."""
        self._forget()

    def drained(self) -> None:
        """See `Handler`."""
        stalled, self._stalled = self._stalled, {}
        for watcher in stalled:
            self._hub.resume(watcher)
        self._hub.advance()
        if self.progress_wanted:
            self.tell_progress()

    def leaderless(self) -> None:
        """There is no leader, and the caller asked to be told."""
        if self._caller.require_leader:
            refusal = refused("no leader")
            self._end(refusal.code, refusal.text)

    def _end(self, code: Code, text: str) -> None:
        self._stream.finish(code, text)
        self._forget()

    def _forget(self) -> None:
        self._over = True
        for watcher in self._watchers.values():
            self._hub.remove(watcher)
        self._watchers.clear()
        self._stalled.clear()
        self._closed(self)

    def _create(self, request: rpc.WatchCreateRequest) -> None:
        key, end = request.key or b"\0", request.range_end
        bound = None if end == b"\0" else end
        id = request.watch_id or self._free_id()
        problem = ""
        forbidden = self._forbidden(key, end)
        if forbidden is not None:
            # etcd's answer has the id that was asked for, and gRPC's words for the refusal.
            reason = f"rpc error: code = {_NAMES[forbidden.code]} desc = {forbidden.text}"
            self._answer(
                rpc.WatchResponse(watch_id=request.watch_id, created=True, canceled=True, cancel_reason=reason)
            )
            return
        if request.watch_id and request.watch_id in self._watchers:
            problem = "mvcc: duplicate watch ID provided on the WatchStream"
        elif bound and key >= bound:
            problem = "mvcc: watcher range is empty"
        elif len(self._watchers) >= MAX_WATCHES:
            problem = f"this stream has {MAX_WATCHES} watches, the limit: open another"
        if problem:
            self._answer(rpc.WatchResponse(watch_id=-1, created=True, canceled=True, cancel_reason=problem))
            return
        begin = request.start_revision if request.start_revision > 0 else self._hub.revision + 1
        filters = sum({1 << which for which in request.filters if which in (0, 1)})
        watcher = Watcher(self, id, key, bound, begin, previous=request.prev_kv, filters=filters)
        self._watchers[id] = watcher
        if request.fragment:
            self._fragmented.add(id)
        if request.progress_notify:
            self._progress[id] = True
        self._answer(rpc.WatchResponse(watch_id=id, created=True))
        self._hub.add(watcher)
        self._hub.advance()

    def _forbidden(self, key: bytes, end: bytes) -> Refusal | None:
        """Why the caller may not watch this, or None."""
        if not self._backend.access.auth.enabled:
            return None
        try:
            principal = self._backend.principal(self._caller)
        except Refusal as refusal:
            return refusal
        rejected = self._backend.access.may_read(principal, key, end)
        return refused(rejected.reason) if rejected is not None else None

    def check_permissions(self) -> None:
        """Auth has changed: end the watches that are not allowed any more."""
        for id, watcher in list(self._watchers.items()):
            forbidden = self._forbidden(watcher.key, b"\0" if watcher.end is None else watcher.end)
            if forbidden is not None:
                self._hub.remove(watcher)
                self._drop(id)
                reason = f"rpc error: code = {_NAMES[forbidden.code]} desc = {forbidden.text}"
                self._answer(rpc.WatchResponse(watch_id=id, canceled=True, cancel_reason=reason))

    def _free_id(self) -> int:
        while self._next in self._watchers:
            self._next += 1
        id = self._next
        self._next += 1
        return id

    def _cancel(self, id: int) -> None:
        watcher = self._watchers.get(id)
        if watcher is not None:
            self._hub.remove(watcher)
            self._drop(id)
            self._answer(rpc.WatchResponse(watch_id=id, canceled=True))

    def _drop(self, id: int) -> None:
        watcher = self._watchers.pop(id)
        self._stalled.pop(watcher, None)
        self._fragmented.discard(id)
        self._progress.pop(id, None)

    # To the caller

    @property
    def _full(self) -> bool:
        """Whether so much waits to be read that nothing is added but answers."""
        return self._stream.unsent > self._stall_bytes

    def _answer(self, response: rpc.WatchResponse, revision: int | None = None) -> None:
        at = self._hub.revision if revision is None else revision
        self._stream.send(self._backend.headers.field(at) + response.SerializeToString())

    def tell(self, watcher: Watcher, events: list[kv.Event], encoded: bytes, revision: int) -> bool:
        """See `Listener`. What is told at once may be large, but there is no second while the first waits."""
        if self._full:
            self._stalled[watcher] = None
            return False
        if watcher.id in self._progress:
            self._progress[watcher.id] = True
        if len(encoded) > FRAGMENT_BYTES and watcher.id in self._fragmented:
            self._tell_in_fragments(watcher, events, revision)
        else:
            id = _WATCH_ID + varint(watcher.id) if watcher.id else b""
            self._stream.send(self._backend.headers.field(revision) + id + encoded)
        return True

    def _tell_in_fragments(self, watcher: Watcher, events: list[kv.Event], revision: int) -> None:
        """Of the answers, all but the last say that more follows (etcd 3.5, watch.go sendFragments)."""
        piece: list[kv.Event] = []
        size = 0
        for event in events:
            length = event.ByteSize()
            if piece and size + length > FRAGMENT_BYTES:
                self._answer(rpc.WatchResponse(watch_id=watcher.id, events=piece, fragment=True), revision)
                piece, size = [], 0
            piece.append(event)
            size += length
        self._answer(rpc.WatchResponse(watch_id=watcher.id, events=piece), revision)

    def compacted(self, watcher: Watcher, revision: int) -> None:
        """See `Listener`."""
        self._drop(watcher.id)
        reason = "mvcc: required revision has been compacted"
        response = rpc.WatchResponse(
            watch_id=watcher.id, canceled=True, compact_revision=revision, cancel_reason=reason
        )
        self._answer(response)

    def tell_progress(self) -> None:
        """Answer a request for progress, once every watch has been told all up to the revision that the answer has:
        a client may take that for a bookmark. One that does not read gets one answer, however often it asked."""
        if self._full or self._stalled or any(watcher.behind for watcher in self._watchers.values()):
            return
        self.progress_wanted = False
        self._answer(rpc.WatchResponse(watch_id=ALL_WATCHES))

    def tell_idle(self) -> None:
        """The interval is over: tell the watches that asked for it, and have been told nothing, where they are. Who
        has not read what came before is told nothing: it would wait with the rest, and there is no end to that."""
        for id, told in self._progress.items():
            self._progress[id] = False
            if not told and not self._watchers[id].behind and not self._full:
                self._answer(rpc.WatchResponse(watch_id=id))
