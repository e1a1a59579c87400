"""A site without services: every call is told, in the words of grpc-go, that there is none."""

from __future__ import annotations

from coterie.http2 import Called, Event, Status
from coterie.runtime.grpc.connection import GrpcConnection


class UnknownServices:
    """Answers UNIMPLEMENTED."""

    def events(self, connection: GrpcConnection, events: list[Event]) -> None:
        """See `GrpcSite.events`."""
        for event in events:
            if isinstance(event, Called):
                connection.http.finish(event.stream, Status.UNIMPLEMENTED, unknown(event.path))
        connection.touch()


def unknown(path: str) -> str:
    """What to say of a path whose service is not known."""
    service, slash, _ = path.removeprefix("/").rpartition("/")
    return f"unknown service {service}" if slash else f'malformed method name: "{path}"'
