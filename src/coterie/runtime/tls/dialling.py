"""How a member dials another's port: in plain text, or with TLS and a look at whom it has reached."""

from __future__ import annotations

import asyncio
import ssl

from coterie.core.errors import CoterieError
from coterie.runtime.tls.alpn import MEMBERS
from coterie.runtime.tls.explaining import dialled
from coterie.runtime.tls.names import agreed_protocol, certified
from coterie.runtime.tls.reloading import TlsSide

_OF_TLS = (ssl.SSLError, ConnectionResetError, ConnectionAbortedError)
"""What a handshake that fails may end with."""


class WrongMember(CoterieError):
    """Somebody else than the member that was wanted has answered, by certificate or protocol."""


class ClosedLater(ConnectionResetError):
    """The other closed the connection when it had answered already: no matter of certificates."""


class Dial:
    """Dials members' ports; `side` None: in plain text."""

    __slots__ = ("_side",)

    def __init__(self, side: TlsSide | None = None) -> None:
        self._side = side

    @property
    def context(self) -> ssl.SSLContext | None:
        """For `loop.create_connection(ssl=)`; asked for at each dial, for certificates change."""
        return self._side.client if self._side is not None else None

    def check(self, transport: asyncio.BaseTransport, member: str) -> None:
        """Whether it is `member` that was reached; before a word is said. Raises `WrongMember`."""
        if self._side is None:
            return
        if agreed_protocol(transport) != MEMBERS:
            raise WrongMember(
                "it speaks TLS, but not as members do: is it the members' port, and does it run the same version?"
            )
        shown = certified(transport)
        if shown is None or not shown.may_be(member):
            raise WrongMember(
                f"its certificate is for {shown or 'nobody'}, not for {member}: give it one whose DNS names "
                f"(subjectAltName) have {member!r}, or correct the address"
            )

    def told(self, problem: BaseException | None) -> str:
        """The problem in words for people."""
        if self._side is not None and isinstance(problem, _OF_TLS) and not isinstance(problem, ClosedLater):
            return dialled(problem)
        if self._side is None and type(problem) is ConnectionResetError:
            return f"{str(problem) or 'reset'} (if it speaks TLS, this member must, too: see peer_cert)"
        return str(problem) or type(problem).__name__
