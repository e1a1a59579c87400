"""The handshake between members, with the product's own rules: who is let in, and who never again.

Messages name the life of the sender that sent them. At the first one of a life a stream is opened, as `runtime`'s
do, with `check_hello`. What an honest life sent before it ended arrives late, whatever came since: the protocol must
bear it.
"""

from __future__ import annotations

from coterie.core.types import Member, MemberId
from coterie.runtime.handshake import Boots, HandshakeRefused, PeerIdentity, RefusalCode, check_hello
from coterie.runtime.register import Register
from coterie.sim.network import Sender
from coterie.sim.verdict import Violation


class Papers:
    """What one node knows of others' starts and removals, and keeps over its own restarts."""

    def __init__(self) -> None:
        self.boots: dict[MemberId, tuple[int, int]] = {}
        self.removed: dict[MemberId, str] = {}


class Admission:
    """One process's door."""

    def __init__(self, own: PeerIdentity, papers: Papers) -> None:
        self.own = own
        self._papers = papers
        self.boots = Boots(papers.boots, self._seen)
        self._register = Register(papers.removed, self._removed)
        self._open: set[tuple[MemberId, int]] = set()

    def _seen(self, seen: dict[MemberId, tuple[int, int]]) -> None:
        self._papers.boots = dict(seen)

    def _removed(self, removed: dict[MemberId, str]) -> None:
        self._papers.removed = dict(removed)

    def members(self, members: tuple[Member, ...]) -> None:
        """The members as they now are, and their claims."""
        self._register.members(members)

    def remove(self, member: Member) -> None:
        """A member was removed, for certain."""
        self._register.remove(member)

    def end(self, member: MemberId) -> None:
        """The streams of a member that was removed are closed."""
        self._open = {stream for stream in self._open if stream[0] != member}

    def lets_in(self, sender: Sender) -> RefusalCode | None:
        """None if the sender's messages are taken, else why not."""
        identity = sender.identity
        stream = (identity.member, identity.process)
        if stream in self._open:
            return None
        known = self.boots.seen.get(identity.member)
        try:
            check_hello(self.own, identity.hello(self.own.member), self.boots, self._register)
        except HandshakeRefused as refused:
            if sender.honest and refused.code is not RefusalCode.REMOVED:
                raise Violation("honest-let-in", f"{self.own.member} refuses {identity.member}: {refused}") from refused
            return refused.code
        if sender.copied_at is not None:
            if known is not None and known[0] > sender.copied_at and known[1] not in identity.starts:
                raise Violation(
                    "copy-refused",
                    f"{self.own.member} saw boot {known[0]} of {identity.member}, and lets a disk in that was set back "
                    f"to boot {sender.copied_at}",
                )
            # It never saw the true one, or forgot: nobody can tell. That they never meet is a matter of luck.
            return RefusalCode.STILL_CONNECTED
        self._open.add(stream)
        return None
