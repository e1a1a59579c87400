"""The Cluster service: members, in etcd's terms (etcd 3.5, api/v3rpc/member.go).

etcd's clients name members by id and address; Coterie's people by name. A member that is added here is named after its
address until it joins; addresses are shown and taken as URLs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

import msgspec

from coterie.core.types import MemberId
from coterie.engine.admin_requests import AdminRequest, ChangeMembers, MembersChanged, NewMember
from coterie.engine.member_names import name_of_address
from coterie.engine.protocol import Answer, Failure, FailureCode, MemberStatus, ReadMode
from coterie.etcd.backend import Backend
from coterie.etcd.calls import Caller, Stream
from coterie.etcd.status import Refusal, failed, refused
from coterie.etcd.wire import rpc

_changed = msgspec.msgpack.Decoder(MembersChanged)


class ClusterService:
    """etcdserverpb.Cluster."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._to_promote: dict[MemberId, None] = {}
        """Members that were added as voters: they begin as learners, and count once they have caught up."""
        self._promoting: set[MemberId] = set()

    def members(self, stream: Stream, caller: Caller, request: rpc.MemberListRequest) -> None:
        """Who belongs to the cluster."""
        mode = ReadMode.LINEARIZABLE if request.linearizable else ReadMode.STALE
        self._backend.read(
            stream, mode, lambda: self._header() + rpc.MemberListResponse(members=self._members()).SerializeToString()
        )

    def add(self, stream: Stream, caller: Caller, request: rpc.MemberAddRequest) -> None:
        """Add a member. A voter, too, begins as a learner, and this member has it promoted when it has caught up: with
        etcd it would count at once, and until it has started every quorum would be harder to reach. Raises `Refusal`.
        """
        self._backend.administrator(caller)
        peer = _address(request.peerURLs)
        if any(member.peer == peer for member in self._backend.node.status().members):
            raise refused("Peer URLs already exists")
        added = NewMember(name_of_address(peer), peer, "")

        def respond(changed: MembersChanged) -> bytes:
            members = self._members()
            ids = {member.id for member in changed.added}
            new = next((member for member in members if member.ID in ids), None)
            if not request.isLearner:
                self._to_promote |= dict.fromkeys(ids)
            return rpc.MemberAddResponse(member=new, members=members).SerializeToString()

        self._change(stream, lambda id: ChangeMembers(id, add=(added,)), respond)

    def look(self) -> None:
        """Promote who was added as a voter and has caught up since."""
        for id in list(self._to_promote):
            if id not in self._promoting:
                self._promote_later(id)

    def _promote_later(self, id: MemberId) -> None:
        member = next((each for each in self._backend.node.status().members if each.id == id), None)
        if member is None or member.voter:
            self._to_promote.pop(id)
            return
        name = member.name  # it may have got another when it joined
        self._promoting.add(id)
        self._backend.node.administer(
            lambda request: ChangeMembers(request, promote=(name,), again=True), lambda _: self._promoting.discard(id)
        )

    def remove(self, stream: Stream, caller: Caller, request: rpc.MemberRemoveRequest) -> None:
        """Remove a member. Raises `Refusal`."""
        self._backend.administrator(caller)
        name = self._member(request.ID).name
        self._change(
            stream,
            lambda id: ChangeMembers(id, remove=(name,)),
            lambda _: rpc.MemberRemoveResponse(members=self._members()).SerializeToString(),
        )

    def promote(self, stream: Stream, caller: Caller, request: rpc.MemberPromoteRequest) -> None:
        """Make a learner a voter. Raises `Refusal`."""
        self._backend.administrator(caller)
        member = self._member(request.ID)
        if member.voter:
            raise refused("can only promote a learner member")
        self._change(
            stream,
            lambda id: ChangeMembers(id, promote=(member.name,)),
            lambda _: rpc.MemberPromoteResponse(members=self._members()).SerializeToString(),
            not_now="can only promote a learner member which is in sync with leader",
        )

    def update(self, stream: Stream, caller: Caller, request: rpc.MemberUpdateRequest) -> None:
        """Change a member's address. Raises `Refusal`."""
        self._backend.administrator(caller)
        member = self._member(request.ID)
        peer = _address(request.peerURLs)
        if any(other.peer == peer and other.id != member.id for other in self._backend.node.status().members):
            raise refused("Peer URLs already exists")
        moved = NewMember(member.name, peer, member.client)
        self._change(
            stream,
            lambda id: ChangeMembers(id, move=(moved,)),
            lambda _: rpc.MemberUpdateResponse(members=self._members()).SerializeToString(),
        )

    def _change(
        self,
        stream: Stream,
        make: Callable[[int], AdminRequest],
        respond: Callable[[MembersChanged], bytes],
        not_now: str = "",
    ) -> None:
        def then(answer: Answer | Failure) -> None:
            if isinstance(answer, Failure):
                late = not_now and answer.code is FailureCode.NOT_NOW
                self._backend.refuse(stream, refused(not_now) if late else failed(answer))
                return
            stream.respond(self._header() + respond(_changed.decode(answer.body)))

        self._backend.node.administer(make, then)

    def _header(self) -> bytes:
        return self._backend.headers.field(self._backend.revision)

    def _member(self, id: int) -> MemberStatus:
        for member in self._backend.node.status().members:
            if member.id == id:
                return member
        raise refused("member not found")

    def _members(self) -> list[rpc.Member]:
        url = self._backend.node.url
        return [
            rpc.Member(
                ID=member.id,
                name=member.name,
                peerURLs=[url(member.peer)],
                clientURLs=[url(member.client)] if member.client else [],
                isLearner=not member.voter,
            )
            for member in self._backend.node.status().members
        ]


def _address(urls: Sequence[str]) -> str:
    """`host:port` of the one URL that a member has. Raises `Refusal`."""
    bad: Refusal = refused("given member URLs are invalid")
    if len(urls) != 1:
        raise bad
    try:
        url = urlsplit(urls[0])
        port = url.port
    except ValueError:
        raise bad from None
    if url.scheme not in ("http", "https") or not url.hostname or not port or url.path not in ("", "/"):
        raise bad
    return f"[{url.hostname}]:{port}" if ":" in url.hostname else f"{url.hostname}:{port}"
