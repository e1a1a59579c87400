"""Joining a cluster that runs: `coterie node --join`. The cluster knows the member already (`member add`
has written its name, addresses and id into the log); this node makes a data directory for that id and
claims it, and then waits for the leader to bring it up to date.

The order is what makes a crash harmless: first the directory keeps the id and the claim, durably; then
the cluster is asked to accept the claim; only then does the node start. A directory that crashed in
between claims again, with the same bits, and is let in; any other directory is refused for ever.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import ssl
import struct
from collections.abc import Iterable

import msgspec

from coterie.core.protocols import PROTOCOLS
from coterie.core.types import NOBODY, MemberId
from coterie.engine.admin_requests import AdminRequest, AskMembers, ClaimMember, MemberInfo, MemberList
from coterie.engine.member_names import name_of_address
from coterie.engine.protocol import (
    CLIENT_MAGIC,
    MAX_FRAME_BYTES,
    PROTOCOL_VERSION,
    Answer,
    Failure,
    FailureCode,
    Hello,
    LogIn,
    Response,
    View,
    Welcome,
    encoder,
    response_decoder,
)
from coterie.runtime.addresses import AddressError, split_address
from coterie.runtime.configuration import NodeConfiguration
from coterie.runtime.disk import Place
from coterie.runtime.errors import StartFailed
from coterie.runtime.frames import LENGTH_BYTES, FrameError, pack_length
from coterie.runtime.log_lines import Lines
from coterie.runtime.tls.explaining import dialled, hung_up
from coterie.runtime.tls.reloading import TlsSide

ASK_TIMEOUT_S = 6.0
"""From dialling a member to its whole answer: longer than a member's own request timeout (5 s)."""
LOOK_TIMEOUT_S = 2.0
"""The same, for a node that has joined already and only checks that the endpoints are its cluster's."""
PATIENCE_S = 60.0
"""How long a cluster without a leader is waited for."""
FIRST_DELAY_S = 0.1
MAX_DELAY_S = 1.0
PROBLEMS = (OSError, TimeoutError, UnicodeError, AddressError, FrameError, msgspec.DecodeError)


class _Told(msgspec.Struct):
    """What one member said."""

    welcome: Welcome
    view: View | None
    response: Answer | Failure

    def leader_address(self) -> str:
        """Where the leader serves clients, if the member knows; "" if not."""
        failure = self.response
        leader = failure.leader if isinstance(failure, Failure) else NOBODY
        if self.view is None or leader == NOBODY:
            return ""
        return next((client for id, _, client in self.view.members if id == leader), "")


async def ask_member(address: str, request: AdminRequest, name: str, tls: TlsSide | None, token: str = "") -> _Told:
    """One question to one member, as the user whom it gave the token, if any. Raises one of `PROBLEMS`."""
    host, port = split_address(address)
    try:
        reader, writer = await asyncio.open_connection(host, port, ssl=tls.client if tls is not None else None)
    except (ssl.SSLError, ConnectionResetError, ConnectionAbortedError) as error:
        raise error if tls is None else ConnectionResetError(dialled(error)) from error
    try:
        greeting = CLIENT_MAGIC + _framed(Hello(PROTOCOL_VERSION, f"{name} (joining)"))
        if token:
            greeting += _framed(LogIn("", "", token))
        writer.write(greeting + _framed(request))
        welcome: Welcome | None = None
        view: View | None = None
        while True:
            try:
                (length,) = struct.unpack(">I", await reader.readexactly(LENGTH_BYTES))
                if not 0 < length <= MAX_FRAME_BYTES:
                    raise FrameError(f"the answer says it has {length} bytes")
                response: Response = response_decoder.decode(await reader.readexactly(length))
            except (asyncio.IncompleteReadError, ConnectionResetError) as error:
                raise ConnectionResetError(_closed(welcome, tls)) from error
            if isinstance(response, Welcome):
                welcome = response
            elif isinstance(response, View):
                view = response
            elif welcome is None:
                text = response.message if isinstance(response, Failure) else "it did not greet"
                raise FrameError(text)
            else:
                return _Told(welcome, view, response)
    finally:
        writer.close()


def _closed(welcome: Welcome | None, tls: TlsSide | None) -> str:
    if welcome is not None:
        return "closed before it answered"
    return hung_up(tls=tls is not None, shown=tls is not None)


def _framed(request: Hello | LogIn | AdminRequest) -> bytes:
    body = encoder.encode(request)
    return pack_length(len(body)) + body


class ClusterAt:
    """A cluster that runs, by some of its members' client addresses."""

    def __init__(
        self, endpoints: Iterable[str], name: str, lines: Lines, rng: random.Random, tls: TlsSide | None = None
    ) -> None:
        """`name`: of the node that asks. `tls`: how members' client ports are dialled; None: in plain text."""
        self._tls = tls
        self.endpoints = tuple(endpoints)
        self._name = name
        self._lines = lines
        self._rng = rng
        self.cluster = 0
        """Its id, once a member has answered."""

    async def ask_leader(self, request: AdminRequest, patience_s: float = PATIENCE_S) -> bytes:
        """Ask until the leader has answered; the answer's body. `request` may be sent more than once.

        Raises `StartFailed`: refused, of two clusters, or no leader in time.
        """
        deadline = asyncio.get_running_loop().time() + patience_s
        delay = FIRST_DELAY_S
        problems: dict[str, str] = {}
        while True:
            addresses = list(self.endpoints)
            asked: set[str] = set()
            while addresses:
                address = addresses.pop(0)
                if address in asked:
                    continue
                asked.add(address)
                try:
                    async with asyncio.timeout(ASK_TIMEOUT_S):
                        told = await ask_member(address, request, self._name, self._tls)
                except PROBLEMS as error:
                    problems[address] = str(error) or "no answer in time"
                    continue
                self._same_cluster(address, told.welcome)
                if isinstance(told.response, Answer):
                    return told.response.body
                if told.response.code in (FailureCode.INVALID, FailureCode.UNSAFE):
                    raise StartFailed(f"the cluster refuses: {told.response.message}")
                problems[address] = told.response.message
                leader = told.leader_address()
                if leader:
                    addresses.insert(0, leader)
            told_problems = "; ".join(f"{address}: {problem}" for address, problem in problems.items())
            if asyncio.get_running_loop().time() > deadline:
                raise StartFailed(
                    f"no leader of the cluster at {','.join(self.endpoints)} answered within {patience_s:.0f} s "
                    f"({told_problems})",
                    advice="check the endpoints, and `coterie status --endpoints ...`",
                )
            self._lines.info("join-waits", problem=told_problems)
            await asyncio.sleep(delay * self._rng.randint(500, 1000) / 1000)
            delay = min(delay * 2, MAX_DELAY_S)

    def _same_cluster(self, address: str, welcome: Welcome) -> None:
        if self.cluster and welcome.cluster != self.cluster:
            raise StartFailed(
                f"the endpoints are of two clusters: {address} belongs to {welcome.cluster:016x}, another to "
                f"{self.cluster:016x}",
                advice="give --join the client addresses of one cluster's members",
            )
        self.cluster = welcome.cluster

    async def look(self) -> int:
        """The id of the cluster that answers first, 0 if nobody does in time. Raises `StartFailed` as above."""
        for address in self.endpoints:
            try:
                async with asyncio.timeout(LOOK_TIMEOUT_S):
                    told = await ask_member(address, AskMembers(1), self._name, self._tls)
            except PROBLEMS:
                continue
            self._same_cluster(address, told.welcome)
            return self.cluster
        return 0


async def find_place(config: NodeConfiguration, lines: Lines, rng: random.Random, tls: TlsSide | None = None) -> Place:
    """The place that the cluster has for this node, whose data directory is yet to be made. Raises `StartFailed`."""
    at = ClusterAt(config.join_endpoints, config.name, lines, rng, tls)
    told, member = await find_member(at, config, config.protocol)
    if member.claimed:
        # Seen before anything is made: a directory with a voter's id and an empty log must not lie around.
        raise StartFailed(
            f"{config.name} is a member of this cluster already (id {member.id:016x}) and has a data directory, which "
            f"is not {config.data}: that one is new. A member that lost its data does not come back under its old id",
            advice=f"`coterie member remove {config.name}`, then `coterie member add {config.name} --peer "
            f"{config.peer}`, and start it with an empty data directory; or start it with the directory that it had",
        )
    return Place(told.cluster, member.id, _claim_bits(), told.protocol)


def _claim_bits() -> int:
    while not (claim := secrets.randbits(64)):
        pass
    return claim


async def check_endpoints(
    config: NodeConfiguration, cluster: int, lines: Lines, rng: random.Random, tls: TlsSide | None = None
) -> None:
    """Of a directory that has joined its cluster it is only checked that --join names that one, if anybody answers.
    While the node runs: a node that waited for the answer would wait for members that do the same, and a whole cluster
    that starts again would stand still for as long as each of them is patient. Raises `StartFailed`."""
    at = ClusterAt(config.join_endpoints, config.name, lines, rng, tls)
    check_cluster(config.data, cluster, await at.look())


async def claim_place(
    config: NodeConfiguration, place: Place, lines: Lines, rng: random.Random, tls: TlsSide | None = None
) -> None:
    """Before the node starts for the first time: its directory claims its id. Raises `StartFailed`."""
    at = ClusterAt(config.join_endpoints, config.name, lines, rng, tls)
    if not at.endpoints:
        raise StartFailed(
            f"the data directory {config.data} has not joined its cluster yet",
            advice="start it with --join and client addresses of the cluster's members",
        )
    told, member = await find_member(at, config, place.protocol)
    check_cluster(config.data, place.cluster, told.cluster)
    if member.id != place.member:
        raise StartFailed(
            f"the data directory {config.data} was made for the member {place.member:016x}; {config.name} has the id "
            f"{member.id:016x} now: it was removed and added again in the meantime",
            advice="start it with an empty data directory",
        )
    await claim_member(at, place.member, place.claim, config.client, config.name)
    lines.info("joined", cluster=f"{told.cluster:016x}", member=f"{place.member:016x}")


async def find_member(at: ClusterAt, config: NodeConfiguration, protocol: str) -> tuple[MemberList, MemberInfo]:
    """What the cluster says of itself, and the member that this node is to be. `protocol`: the one that this node is
    to run; "" if that is for the cluster to say.

    Raises `StartFailed`: not added, or added with other addresses, or the cluster runs something else."""
    told = msgspec.msgpack.decode(await at.ask_leader(AskMembers(1)), type=MemberList)
    name = config.name
    if told.protocol not in PROTOCOLS:
        raise StartFailed(
            f"the cluster runs {told.protocol}, which this version does not know",
            advice="start the node with the version that the cluster's members run",
        )
    if protocol not in ("", told.protocol):
        raise StartFailed(
            f"the cluster runs {told.protocol}, this node is configured for {protocol}",
            advice=f"start it with --protocol {told.protocol}, or leave the protocol out: the cluster tells it",
        )
    member = next((member for member in told.members if member.name == name), None)
    if member is None:
        # Through etcd's API members are added by address; they get their names when they join.
        unnamed = (each for each in told.members if each.name == name_of_address(config.peer) and not each.claimed)
        member = next(unnamed, None)
    if member is None:
        names = ", ".join(member.name for member in told.members)
        raise StartFailed(
            f"the cluster at {','.join(at.endpoints)} has no member called {name}; its members are {names}",
            advice=f"add it first: coterie member add {name} --peer {config.peer} --client {config.client}",
        )
    if member.peer != config.peer:
        raise StartFailed(
            f"{name} was added with the peer address {member.peer}, this node has {config.peer}",
            advice=f"start it with --peer {member.peer}, or remove the member and add it again",
        )
    if member.client and member.client != config.client:
        raise StartFailed(
            f"{name} was added with the client address {member.client}, this node has {config.client}",
            advice=f"start it with --client {member.client}, or remove the member and add it again",
        )
    return told, member


async def claim_member(at: ClusterAt, member: MemberId, claim: int, client: str, name: str = "") -> None:
    """Claim the id for this data directory; safe to be repeated. Raises `StartFailed`: another has it."""
    await at.ask_leader(ClaimMember(1, member, claim, client, name))


def check_cluster(directory: str, own: int, found: int) -> None:
    """Raises `StartFailed` if the endpoints of --join are another cluster's than the data directory's."""
    if found not in (0, own):
        raise StartFailed(
            f"the data directory {directory} belongs to cluster {own:016x}, the endpoints of --join to cluster "
            f"{found:016x}",
            advice="give the endpoints of the directory's own cluster, or an empty directory to join the other one",
        )
