"""A call as the services see it: whoever carries it (gRPC, the JSON gateway, the simulated world) offers the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec
from google.protobuf.message import Message

from coterie.etcd.status import Code


class Caller(msgspec.Struct, frozen=True):
    """Who calls, as far as that was said."""

    token: str = ""
    """What `Authenticate` gave."""
    certified: str = ""
    """The common name of a verified client certificate."""
    require_leader: bool = False
    """A stream of a caller who wants that ends when this member has been without a leader for some time."""


ANYBODY = Caller()
"""Who says nothing."""


class Stream(Protocol):
    """The way back to one call. Once the call has ended, whoever ended it, all of these do nothing."""

    @property
    def unsent(self) -> int:
        """Bytes of answers that the caller has not taken yet."""
        ...

    def respond(self, message: bytes) -> None:
        """The one answer of a call that has one, and its end."""
        ...

    def send(self, message: bytes) -> None:
        """One answer of many."""
        ...

    def finish(self, code: Code = Code.OK, text: str = "") -> None:
        """No more answers."""
        ...

    def release(self) -> None:
        """The oldest message that was held (`Handler.received`) is done with."""
        ...


class Handler(Protocol):
    """What is told of a call as long as it lasts."""

    def received(self, message: bytes) -> bool:
        """One more message of the caller's, and whether it is done with. If not, it is held until `Stream.release` says
        so, and the caller may send no more than a window of bytes meanwhile."""
        ...

    def ended(self) -> None:
        """The caller sends no more; it still takes answers."""
        ...

    def cancelled(self) -> None:
        """The caller has gone, or gave up."""
        ...

    def drained(self) -> None:
        """What was unsent has mostly been taken."""
        ...


class Unary(msgspec.Struct, frozen=True):
    """A method with one message there and one back."""

    request: type[Message]
    run: Callable[[Stream, Caller, Message], Handler | None]
    """Answers by and by, or raises `Refusal`. A call that takes long gives who is to be told that it was cancelled."""
    glance: Callable[[Stream, Caller, bytes], bool] | None = None
    """Does the same for a message that is known by its bytes, without parsing it; False: it is not, do `run`."""


class Streaming(msgspec.Struct, frozen=True):
    """Any other method."""

    open: Callable[[Stream, Caller], Handler]


Method = Unary | Streaming
