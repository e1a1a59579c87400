"""What the clients' port and those around it say to each other."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from typing import Protocol

import msgspec

from coterie.engine.protocol import LogIn, Request, Response, View, Welcome
from coterie.runtime.tls.names import Certified


class ClientLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of the clients' port."""

    max_connections: int = 4096
    max_in_flight: int = 8192
    """Requests of one connection taken and not yet answered; from there on nothing is read from it."""
    max_output_bytes: int = 64 * 1024 * 1024
    """Unsent answers to one client; a client that lets more pile up is cut off."""
    stall_timeout_s: float = 30.0
    """A client that reads so little for so long that its answers pile up is cut off."""


class NativeClient(Protocol):
    """A client that speaks the native protocol, as those see it who must know who it is."""

    @property
    def certified(self) -> Certified | None:
        """By its verified certificate."""
        ...

    @property
    def identity(self) -> object:
        """What `logged_in` was given; None: it named nobody."""
        ...

    def logged_in(self, identity: object) -> None:
        """It has been found out who the client is, or why that is not known: what it asked meanwhile is taken up."""
        ...

    def deliver(self, *answers: Response) -> None:
        """Queue answers to requests, one for each, for the next flush."""
        ...

    def turn_away(self, *answers: Response) -> None:
        """Answer requests, one answer for each, and close."""
        ...


class ClientInput(Protocol):
    """Where clients' requests go."""

    def requests_from(self, client: NativeClient, requests: list[Request]) -> None:
        """Requests of one connection, in order, just arrived."""
        ...

    def welcome(self) -> tuple[Welcome, View]:
        """What to answer a client's `Hello`."""
        ...

    def log_in(self, client: NativeClient, request: LogIn) -> None:
        """Find out whether the client is who it says, and call its `logged_in`."""
        ...


class Flushable(Protocol):
    """A connection with something to write."""

    def flush(self) -> None:
        """Hand it to the socket."""
        ...


class Drainable(asyncio.Protocol):
    """A protocol that can say farewell."""

    __slots__ = ()

    @abstractmethod
    def drain(self) -> None:
        """Take no new calls; close when the present ones are answered."""

    @abstractmethod
    def close(self) -> None:
        """End the calls under way, and close."""
