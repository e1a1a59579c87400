"""A user by certificate, and one whom no member can make sure of: what reaches the engine of their native requests."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.contract.etcd.serving import Method, ServedCluster
from tests.contract.etcd.test_auth import ROOT
from tests.contract.etcd.test_auth import guarded as guarded

from coterie.core.types import MemberId
from coterie.engine.admin_requests import AskMembers, ChangeMembers, ChangeSetting, ClaimMember
from coterie.engine.protocol import (
    AskStatus,
    Failure,
    FailureCode,
    LogIn,
    OpenSession,
    Query,
    ReadMode,
    Request,
    Response,
    Submit,
)
from coterie.etcd.native import MAX_CHECKS
from coterie.etcd.wire import rpc
from coterie.machine.kv.auth.protocol import Authorised, AuthorisedQuestion
from coterie.machine.kv.protocol import command_decoder, question_decoder
from coterie.runtime.tls.names import Certified

OPEN: list[Request] = [AskStatus(1), AskMembers(2), ClaimMember(3, 9, 7, "h:1")]
DATA: list[Request] = [Submit(4, 0, 0, 0, b"a"), Query(5, ReadMode.STALE, 0, b"b"), OpenSession(6, 10)]
ROOTS: list[Request] = [ChangeMembers(7, remove=("n1",)), ChangeSetting(8, "quota_bytes", "1")]


class Connection:
    """A client of the native port, without the port."""

    def __init__(self, common_name: str = "") -> None:
        self.certified = Certified(common_name=common_name) if common_name else None
        self.identity: object = None
        self.answers: list[Response] = []
        self.settled = self.away = False

    def logged_in(self, identity: object) -> None:
        self.identity, self.settled = identity, True

    def deliver(self, *answers: Response) -> None:
        self.answers += answers

    def turn_away(self, *answers: Response) -> None:
        self.answers += answers
        self.away = True

    def refused(self) -> dict[int, FailureCode]:
        return {answer.id: answer.code for answer in self.answers if isinstance(answer, Failure)}


def ids(requests: list[Request]) -> list[int]:
    return [request.id for request in requests]  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["", "carol"])
def test_whom_no_certificate_names_may_ask_what_all_may(guarded: tuple[ServedCluster, MemberId], name: str) -> None:
    cluster, leader = guarded
    client = Connection(name)
    admitted = cluster.servers[leader].services.native.admit(client, [*OPEN, *DATA, *ROOTS])
    assert admitted == OPEN
    cluster.flush_services(cluster.servers[leader])
    cluster.until(lambda: bool(client.answers))
    assert client.refused() == dict.fromkeys(ids([*DATA, *ROOTS]), FailureCode.NOT_LOGGED_IN)
    assert not client.away


def test_nobody_is_refused_for_what_was_on_before_he_asked(guarded: tuple[ServedCluster, MemberId]) -> None:
    """A member that has not heard yet that auth was switched off sends the client away to come again."""
    cluster, leader = guarded
    other = cluster.servers[next(member for member in cluster.servers if member != leader)]
    auth = other.services.backend.access.auth
    cluster.until(lambda: auth.enabled)
    off = Method("/etcdserverpb.Auth/AuthDisable", rpc.AuthDisableResponse)
    cluster.call(leader, off, rpc.AuthDisableRequest(), ROOT)
    cluster.until(lambda: not cluster.servers[leader].services.backend.access.auth.enabled)
    assert auth.enabled
    client = Connection("carol")
    assert other.services.native.admit(client, DATA) == []
    assert not client.answers
    cluster.flush_services(other)
    cluster.until(lambda: client.away)
    assert client.refused() == dict.fromkeys(ids(DATA), FailureCode.STOPPING)


def test_a_certified_users_requests_go_in_that_name(guarded: tuple[ServedCluster, MemberId]) -> None:
    cluster, leader = guarded
    client = Connection("ann")
    native = cluster.servers[leader].services.native
    revision = cluster.servers[leader].services.backend.access.auth.revision
    admitted = native.admit(client, [*OPEN, *DATA, *ROOTS])
    assert ids(admitted) == ids([*OPEN, *DATA])
    command, question = admitted[3], admitted[4]
    assert isinstance(command, Submit)
    assert command_decoder.decode(command.command) == Authorised("ann", revision, b"a")
    assert isinstance(question, Query)
    assert question_decoder.decode(question.question) == AuthorisedQuestion("ann", revision, b"b")
    assert client.refused() == dict.fromkeys(ids(ROOTS), FailureCode.REJECTED)
    assert native.admit(Connection("root"), ROOTS) == ROOTS


def test_while_nobody_leads_a_name_is_not_made_sure_of_and_its_client_goes_elsewhere(
    guarded: tuple[ServedCluster, MemberId],
) -> None:
    cluster, leader = guarded
    alone = next(member for member in cluster.servers if member != leader)
    for member in [*cluster.servers]:
        if member != alone:
            cluster.crash(member)
    client = Connection("ann")
    services = cluster.servers[alone].services
    services.native.log_in(client, LogIn("ann", "hers"))
    cluster.flush_services(cluster.servers[alone])
    cluster.until(lambda: client.settled)
    assert services.native.admit(client, [*OPEN, *DATA]) == []
    assert client.away
    assert set(client.refused()) == set(ids([*OPEN, *DATA]))
    assert FailureCode.NOT_LOGGED_IN not in client.refused().values()


def test_a_token_that_a_member_gave_root_is_good_at_another(guarded: tuple[ServedCluster, MemberId]) -> None:
    cluster, leader = guarded
    cluster.servers[leader].token = lambda: "drawn"  # type: ignore[method-assign]
    given: list[str] = []
    cluster.servers[leader].services.native.vouch(given.append)
    cluster.flush_services(cluster.servers[leader])
    cluster.until(lambda: given == ["drawn"])
    other = next(member for member in cluster.servers if member != leader)
    for token, admitted in (("drawn", ROOTS), ("guessed", [])):
        client = Connection()
        elsewhere = cluster.servers[other]
        elsewhere.services.native.log_in(client, LogIn("", "", token))
        cluster.flush_services(elsewhere)
        cluster.until(lambda: client.settled)  # noqa: B023 - it is done with in this turn
        assert elsewhere.services.native.admit(client, ROOTS) == admitted


def test_only_so_many_passwords_wait_to_be_checked_and_the_next_client_comes_again_later(
    guarded: tuple[ServedCluster, MemberId],
) -> None:
    cluster, leader = guarded
    server = cluster.servers[leader]
    services, waiting = server.services, list[Callable[[bool], None]]()
    server.check_password = lambda password, hash, then: waiting.append(then)  # type: ignore[method-assign]
    adding = rpc.AuthUserAddRequest(name="dora", hashedPassword="aGFzaA==")
    added = cluster.call(leader, Method("/etcdserverpb.Auth/UserAdd", rpc.AuthUserAddResponse), adding, ROOT)
    cluster.wait(added)
    clients = [Connection() for _ in range(MAX_CHECKS + 1)]
    for client in clients:
        services.native.log_in(client, LogIn("dora", "hers"))
    cluster.flush_services(server)
    cluster.until(lambda: clients[-1].settled)
    assert (len(waiting), [client.settled for client in clients].count(True)) == (MAX_CHECKS, 1)
    assert services.native.admit(clients[-1], DATA) == []
    assert (clients[-1].away, {*clients[-1].refused().values()}) == (True, {FailureCode.OVERLOADED})
    for then in waiting:
        then(True)
    assert len(services.native.admit(clients[0], DATA)) == len(DATA)
    services.native.log_in(again := Connection(), LogIn("dora", "hers"))
    cluster.flush_services(server)
    cluster.until(lambda: len(waiting) == MAX_CHECKS + 1)
    assert not again.settled
