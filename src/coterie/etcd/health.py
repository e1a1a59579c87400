"""gRPC's health service (https://github.com/grpc/grpc/blob/master/doc/health-checking.md)."""

from __future__ import annotations

from google.protobuf.message import DecodeError

from coterie.core.types import NOBODY
from coterie.etcd.backend import Backend
from coterie.etcd.calls import Caller, Stream
from coterie.etcd.status import Code, Refusal
from coterie.etcd.wire import health

_SERVICES = ("", "etcdserverpb.KV", "etcdserverpb.Watch", "etcdserverpb.Lease")


class HealthService:
    """grpc.health.v1.Health."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._watchers: dict[HealthWatch, None] = {}
        self._serving = True

    def check(self, stream: Stream, caller: Caller, request: health.HealthCheckRequest) -> None:
        """Whether this member serves: whether it knows a leader. Raises `Refusal`."""
        if request.service not in _SERVICES:
            raise Refusal(Code.NOT_FOUND, f"unknown service {request.service!r}")
        stream.respond(self._answer())

    def watch(self, stream: Stream, caller: Caller) -> HealthWatch:
        """A stream of answers, one at each change."""
        return HealthWatch(self, stream)

    def look(self) -> None:
        """Something may have changed."""
        serving = self._backend.node.leader != NOBODY
        if serving != self._serving:
            self._serving = serving
            for watch in list(self._watchers):
                watch.tell(self._answer())

    def enter(self, watch: HealthWatch, service: str) -> None:
        """A stream has said what it is about."""
        if service not in _SERVICES:
            unknown = health.HealthCheckResponse(status=health.HealthCheckResponse.SERVICE_UNKNOWN)
            watch.tell(unknown.SerializeToString())
            return
        self._watchers[watch] = None
        watch.tell(self._answer())

    def leave(self, watch: HealthWatch) -> None:
        """A stream has ended."""
        self._watchers.pop(watch, None)

    def _answer(self) -> bytes:
        serving = self._backend.node.leader != NOBODY
        kinds = health.HealthCheckResponse
        return kinds(status=kinds.SERVING if serving else kinds.NOT_SERVING).SerializeToString()


class HealthWatch:
    """One stream."""

    def __init__(self, service: HealthService, stream: Stream) -> None:
        self._service = service
        self._stream = stream

    def received(self, message: bytes) -> bool:
        """See `Handler`."""
        try:
            request = health.HealthCheckRequest.FromString(message)
        except DecodeError as error:
            self._stream.finish(Code.INTERNAL, f"grpc: error unmarshalling request: {error}")
        else:
            self._service.enter(self, request.service)
        return True

    def tell(self, message: bytes) -> None:
        """One more answer."""
        self._stream.send(message)

    def ended(self) -> None:
        """See `Handler`."""

    def cancelled(self) -> None:
        """See `Handler`."""
        self._service.leave(self)

    def drained(self) -> None:
        """See `Handler`."""
