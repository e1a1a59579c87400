"""Every limit of one connection, with its default."""

from __future__ import annotations

from typing import Final

import msgspec

from coterie.http2.errors import LimitsError

KIB: Final = 1024
MIB: Final = 1024 * KIB
SECOND: Final = 1_000_000_000
"""In nanoseconds."""
STREAM_WINDOW_BYTES: Final = 65_535
"""What a client may send on a stream before it hears of more: the protocol's initial value, so that a client may use
it before it has seen any setting. A message larger than this gets what it lacks as soon as its length is known."""
MIN_FRAME_BYTES: Final = 16_384
"""SETTINGS_MAX_FRAME_SIZE is never below (RFC 9113, section 4.2)."""
MAX_FRAME_BYTES: Final = (1 << 24) - 1
MAX_WINDOW_BYTES: Final = (1 << 31) - 1


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of one connection. Raises `LimitsError` if one breaks its rule."""

    max_message_bytes: int = 2 * MIB
    """Of one message received, also when decompressed. etcd's default: 1.5 MiB and what surrounds it, rounded up."""
    max_streams: int = 16_384
    """Open at a time. etcd has no such limit by default; one more here is refused in the way that clients retry."""
    max_frame_bytes: int = MIN_FRAME_BYTES
    """Payload of one frame received."""
    max_header_list_bytes: int = 64 * KIB
    """Of one request's metadata, counted as RFC 9113, section 6.5.2 does. A request above it is answered
    RESOURCE_EXHAUSTED; above four times as much, or with so many bytes compressed, the connection ends."""
    max_continuations: int = 16
    """CONTINUATION frames of one header block."""
    connection_window_bytes: int = 4 * MIB
    """What a client may have under way on all streams together."""
    max_received_bytes: int = 64 * MIB
    """Of messages that are not whole yet or not read yet, all streams together. Large messages wait for their turn
    below half of it; a stream that goes past it is answered RESOURCE_EXHAUSTED."""
    max_unsent_stream_bytes: int = 64 * MIB
    """Waiting to be sent on one stream. One message may always wait; a stream where more pile up is reset."""
    max_unsent_bytes: int = 256 * MIB
    """Waiting to be sent on all streams together. A connection where more pile up is closed."""
    high_water_bytes: int = 256 * KIB
    """Unsent bytes of a stream from which on it is told when it has drained."""
    low_water_bytes: int = 64 * KIB
    """Unsent bytes of a stream from which on it has drained."""
    stall_timeout: int = 30 * SECOND
    """Nanoseconds: half a frame, half a header block, half a message, an opened call without a message, answers that
    the client gives no window for: without progress for so long, the stream or the connection is cut off."""
    settings_timeout: int = 10 * SECOND
    """Nanoseconds from the start to the client's preface and to its acknowledgement of our settings."""
    keepalive_interval: int = 7200 * SECOND
    """Nanoseconds of silence after which the client is asked whether it is there. etcd's default."""
    keepalive_timeout: int = 20 * SECOND
    """Nanoseconds that it has for the answer. etcd's default."""
    patience_burst: int = 10_000
    """Points for frames that ask for work and bring nothing, see `patience`."""
    patience_per_second: int = 1_000

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if getattr(self, name) < 1:
                raise _wrong(name, getattr(self, name), "it must be a whole number above 0")
        _between("max_frame_bytes", self.max_frame_bytes, MIN_FRAME_BYTES, MAX_FRAME_BYTES)
        _between("connection_window_bytes", self.connection_window_bytes, STREAM_WINDOW_BYTES, MAX_WINDOW_BYTES)
        _between("max_streams", self.max_streams, 1, MAX_WINDOW_BYTES)
        _between("max_message_bytes", self.max_message_bytes, 1, MAX_WINDOW_BYTES - 2 * STREAM_WINDOW_BYTES)
        # Else a single message of the largest size could never arrive: half of it is for such messages.
        least = 2 * (self.max_message_bytes + STREAM_WINDOW_BYTES)
        if self.max_received_bytes < least:
            raise _wrong("max_received_bytes", self.max_received_bytes, f"it must be at least {least}")
        _between("low_water_bytes", self.low_water_bytes, 1, self.high_water_bytes)


def _between(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise _wrong(name, value, f"it must be between {least} and {most}")


def _wrong(name: str, value: object, rule: str) -> LimitsError:
    return LimitsError(f"{name} is {value!r}: {rule}")
