"""Asking every member what it is: those given, those of the local cluster, those that members name."""

from __future__ import annotations

import asyncio
import os
import socket

import msgspec

from coterie.cli.cluster_file import LocalCluster, local_cluster
from coterie.client.asynchronous import connect_async
from coterie.client.config import ClientConfig
from coterie.client.endpoints import Endpoint, parse_endpoint, parse_endpoints
from coterie.client.tls import TlsConfig
from coterie.core.errors import ConfigurationError, CoterieError
from coterie.core.types import NOBODY, MemberId
from coterie.engine.protocol import NodeStatus

STATUS_TIMEOUT_S = 1.0
"""A member that does not answer within this is taken to be down."""


class Seen(msgspec.Struct):
    """One member: what others say of it, and what it says itself."""

    name: str
    id: MemberId = NOBODY
    peer: str | None = None
    client: str | None = None
    status: NodeStatus | None = None
    voter: bool = True

    @property
    def healthy(self) -> bool:
        """It answered, and knows a leader."""
        return self.status is not None and self.status.leader != NOBODY


class Survey(msgspec.Struct, frozen=True):
    """The cluster as all its members together describe it."""

    members: tuple[Seen, ...]
    newest: NodeStatus | None
    """The status of the member with the highest epoch, then the highest commit; None: nobody answered."""
    protocol: str | None
    problems: tuple[str, ...]
    """Why members could not be asked."""

    @property
    def leader(self) -> Seen | None:
        """The leader that the newest epoch's members name, if it answers."""
        if self.newest is None:
            return None
        for member in self.members:
            if member.id == self.newest.leader and member.status is not None:
                return member
        return None


async def _ask(endpoint: Endpoint, tls: TlsConfig | None) -> NodeStatus | str:
    config = ClientConfig(name=f"coterie-cli/{os.getpid()}", follow_members=False, give_up_unreachable=True)
    async with connect_async([endpoint], config, tls=tls) as client:
        try:
            return await client.status(timeout=STATUS_TIMEOUT_S)
        except CoterieError as error:
            return str(error)


async def survey(endpoints: str, tls: TlsConfig | None = None) -> Survey:
    """Ask all in parallel, then those that the answers name. Raises `ConfigurationError` for a malformed endpoint or
    certificates that cannot be used."""
    local = local_cluster(endpoints)
    to_ask = list(parse_endpoints(endpoints))
    if local is not None:
        to_ask.extend(parse_endpoints(local.endpoints))
    answers: dict[Endpoint, NodeStatus] = {}
    problems: list[str] = []
    asked: set[Endpoint] = set()
    while to_ask:
        turn = [endpoint for endpoint in dict.fromkeys(to_ask) if endpoint not in asked]
        asked.update(turn)
        to_ask = []
        for endpoint, answer in zip(
            turn, await asyncio.gather(*(_ask(endpoint, tls) for endpoint in turn)), strict=True
        ):
            if isinstance(answer, str):
                problems.append(answer)
                continue
            answers[endpoint] = answer
            for member in answer.members:
                address = _parse(member.client)
                if address is not None and all(known.member != member.id for known in answers.values()):
                    to_ask.append(address)
    return _merge(answers, local, problems)


def _merge(answers: dict[Endpoint, NodeStatus], local: LocalCluster | None, problems: list[str]) -> Survey:
    newest = max(
        answers.values(), key=lambda s: (s.epoch_round, s.epoch_node, s.leader != NOBODY, s.commit), default=None
    )
    members: dict[str, Seen] = {}
    if newest is not None:
        for told in newest.members:
            members[told.name] = Seen(told.name, told.id, told.peer or None, told.client or None, None, told.voter)
    for status in answers.values():
        if newest is None or status.cluster != newest.cluster:
            continue  # The endpoints are of two clusters: show the one whose log is further.
        seen = members.setdefault(status.name, Seen(status.name))
        seen.id, seen.status = status.member, status
    for node in local.present if local is not None else ():
        if newest is None or node.name in members:
            seen = members.setdefault(node.name, Seen(node.name))
            seen.peer = seen.peer or node.peer
            seen.client = seen.client or node.client
    protocol = newest.protocol if newest is not None else local.protocol if local is not None else None
    return Survey(tuple(sorted(members.values(), key=lambda member: member.name)), newest, protocol, tuple(problems))


def _parse(address: str) -> Endpoint | None:
    try:
        return parse_endpoint(address)
    except ConfigurationError:
        return None


def on_this_machine(address: str | None) -> bool:
    """Whether `host:port` is an address of this machine: one that a socket here can have."""
    endpoint = _parse(address or "")
    if endpoint is None:
        return False
    try:
        found = socket.getaddrinfo(endpoint.host, 0, type=socket.SOCK_STREAM)
    except OSError:
        return False
    for family, kind, protocol, _, name in found:
        try:
            with socket.socket(family, kind, protocol) as probe:
                probe.bind(name)
                return True
        except OSError:
            continue
    return False


def pid_here(member: Seen) -> int | None:
    """The member's process, if it runs on this machine."""
    if member.status is None or not member.status.pid or not on_this_machine(member.client):
        return None
    return member.status.pid
