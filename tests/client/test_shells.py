"""Both shells over real sockets: the same operations, the same outcomes."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.client.peer import STALE_AGE, Cluster

from coterie.client import calls
from coterie.client.asynchronous import AsyncClient, connect_async
from coterie.client.blocking import Client, connect
from coterie.client.calls import MalformedReply
from coterie.client.config import ClientConfig
from coterie.client.errors import (
    ClientClosed,
    CommandRejected,
    ConnectionLost,
    InvalidRequest,
    Overloaded,
    TimedOut,
    Unavailable,
)
from coterie.core.config import MILLISECOND
from coterie.core.errors import ConfigurationError, Effect
from coterie.engine.protocol import MAX_REQUEST_BYTES, FailureCode, Happened, OpenSession, Query, ReadMode, Submit
from coterie.machine.kv.protocol import Compare, Put, Range, RangeReply, Relation, Target

QUICK = ClientConfig(attempt_timeout=150 * MILLISECOND, silent_timeout=500 * MILLISECOND)


class Shell:
    """One way to make calls: `call("put", "k", "v")`."""

    def __init__(self, run: Callable[[str, Any, Any], Any]) -> None:
        self._run = run

    def __call__(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return self._run(name, args, kwargs)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(params=["blocking", "asyncio"])
def call(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[Shell]:
    if request.param == "blocking":
        with connect(cluster.endpoints, QUICK) as client:
            yield Shell(lambda name, args, kwargs: getattr(client, name)(*args, **kwargs))
        return
    with asyncio.Runner() as runner:

        async def open_client() -> AsyncClient:
            return await connect_async(cluster.endpoints, QUICK)

        client_ = runner.run(open_client())

        async def one(name: str, args: Any, kwargs: Any) -> Any:
            return await getattr(client_, name)(*args, **kwargs)

        yield Shell(lambda name, args, kwargs: runner.run(one(name, args, kwargs)))
        runner.run(client_.close())


def test_what_is_put_can_be_read_deleted_compared_and_listed(call: Shell) -> None:
    assert call("get", "k") is None
    first = call("put", "k", "v1")
    item = call("get", b"k")
    assert (item.value, item.create, item.mod, item.version) == (b"v1", first.revision, first.revision, 1)
    second = call("put", "k", b"\xff\x00", want_previous=True)
    assert second.revision == first.revision + 1
    assert second.previous.value == b"v1"
    assert call("get", "k", revision=first.revision).value == b"v1"
    assert call("cas", "k", "nonsense", "v3").succeeded is False
    assert call("cas", "k", "nonsense", "v3").current.value == b"\xff\x00"
    assert call("cas", "k", b"\xff\x00", "v3").succeeded is True
    assert call("cas", "new", None, "n").succeeded is True
    assert call("cas", "new", None, "n").succeeded is False
    listing = call("range", "a", "z")
    assert [item.key for item in listing.items] == [b"k", b"new"]
    assert listing.count == 2
    assert call("range", "a", "z", limit=1).more is True
    assert call("delete", "k").deleted == 1
    assert call("delete", "k").deleted == 0
    assert call("get", "k") is None


def test_a_transaction_runs_one_of_two_branches(call: Shell) -> None:
    missing = Compare(b"t", Target.VERSION, Relation.EQUAL, 0)
    reply = call("txn", [missing], [Put(b"t", b"1")], [Range(b"t")])
    assert reply.succeeded
    reply = call("txn", [missing], [Put(b"t", b"2")], [Range(b"t")])
    assert not reply.succeeded
    assert isinstance(reply.replies[0], RangeReply)
    assert reply.replies[0].items[0].value == b"1"


def test_compacted_revisions_are_refused_and_the_error_says_that_nothing_happened(call: Shell) -> None:
    call("put", "k", "1")
    call("put", "k", "2")
    call("compact", call("put", "k", "3").revision)
    with pytest.raises(CommandRejected) as raised:
        call("get", "k", revision=1)
    assert raised.value.effect is Effect.NO
    assert raised.value.advice


def test_reads_say_how_fresh_they_are(call: Shell, cluster: Cluster) -> None:
    revision = call("put", "k", "v").revision
    assert call("read", "k").age_ms == 0
    assert call("read", "k", stale=True).age_ms == STALE_AGE / MILLISECOND
    assert call("read", "k", session=True).revision == revision
    call("get", "k", at_least=revision - 1)
    asked = [r for member in cluster.members for r in member.requests if isinstance(r, Query)]
    modes = {(r.mode, r.at_least) for r in asked}
    assert modes == {
        (ReadMode.LINEARIZABLE, 0),
        (ReadMode.STALE, 0),
        (ReadMode.SESSION, revision),
        (ReadMode.SESSION, revision - 1),
    }
    with pytest.raises(ValueError, match="stale"):
        call("get", "k", stale=True, session=True)


def test_a_put_whose_answer_was_lost_is_sent_again_and_takes_effect_once(call: Shell, cluster: Cluster) -> None:
    call("put", "k", "v0")
    for member in cluster.members:
        member.cut_after_effect = 1
    reply = call("put", "k", "v1")
    item = call("get", "k")
    assert (item.version, item.mod) == (2, reply.revision)
    submits = [r for m in cluster.members for r in m.requests if isinstance(r, Submit) and r.seq == 2]
    assert len(submits) >= 2


def test_without_a_session_a_lost_answer_is_an_unknown_outcome_and_nothing_is_repeated(
    call: Shell, cluster: Cluster
) -> None:
    for member in cluster.members:
        member.cut_after_effect = 1
    with pytest.raises(ConnectionLost) as raised:
        call("put", "k", "v", session=False)
    assert raised.value.effect is Effect.UNKNOWN
    assert "read the key" in raised.value.advice
    assert call("get", "k").version == 1
    assert not any(isinstance(r, OpenSession) for m in cluster.members for r in m.requests)


def test_a_session_that_expired_is_replaced_when_the_command_cannot_have_run(call: Shell, cluster: Cluster) -> None:
    call("put", "k", "v0")
    cluster.do(cluster.sessions.clear)
    assert call("put", "k", "v1").revision
    assert call("get", "k").version == 2
    assert cluster.opened == 2


@pytest.mark.parametrize("code", [FailureCode.NO_LEADER, FailureCode.OVERLOADED, FailureCode.STOPPING])
def test_refusals_are_tried_again_elsewhere(call: Shell, cluster: Cluster, code: FailureCode) -> None:
    for member in cluster.members:
        member.refusals = [(code, Happened.NO)] * 2
    assert call("put", "k", "v", session=False).revision
    assert call("get", "k").version == 1


@pytest.mark.parametrize(
    ("code", "error"),
    [(FailureCode.NO_LEADER, Unavailable), (FailureCode.OVERLOADED, Overloaded), (FailureCode.TIMEOUT, TimedOut)],
)
def test_what_is_refused_until_the_timeout_did_not_happen(
    call: Shell, cluster: Cluster, code: FailureCode, error: type[Exception]
) -> None:
    for member in cluster.members:
        member.refusals = [(code, Happened.NO)] * 1000
    with pytest.raises(error) as raised:
        call("put", "k", "v", timeout=0.3)
    assert isinstance(raised.value, Unavailable | Overloaded | TimedOut)
    assert raised.value.effect is Effect.NO


def test_a_silent_member_is_passed_by(call: Shell, cluster: Cluster) -> None:
    call("put", "k", "v")
    cluster.leader.mute = True
    assert call("get", "k").value == b"v"
    assert call("put", "k", "v2").revision
    cluster.lead(cluster.members[1])
    assert call("get", "k").version == 2


def test_a_cluster_that_is_silent_leaves_a_put_unknown_and_a_get_without_effect(call: Shell, cluster: Cluster) -> None:
    call("put", "k", "v")
    for member in cluster.members:
        member.mute = True
    with pytest.raises(TimedOut) as raised:
        call("put", "k", "v2", timeout=0.4)
    assert raised.value.effect is Effect.UNKNOWN
    with pytest.raises((TimedOut, Unavailable)) as raised_read:
        call("get", "k", timeout=0.2)
    assert raised_read.value.effect is Effect.NO


def test_requests_go_to_the_leader_and_follow_it(call: Shell, cluster: Cluster) -> None:
    def told(number: int) -> int:
        return sum(isinstance(r, Submit) for r in cluster.members[number].requests)

    for leader in (2, 0, 1):
        cluster.lead(cluster.members[leader])
        before = told(leader)
        for _ in range(50):  # The connection to the new leader may not be there for the first ones.
            call("put", "k", "v")
            if told(leader) >= before + 3:
                break
        assert told(leader) >= before + 3


def test_members_that_die_and_come_back_are_found_again(call: Shell, cluster: Cluster) -> None:
    call("put", "k", "v")
    for member in cluster.members[:2]:
        cluster.stop(member)
    assert call("put", "k", "v2").revision
    cluster.stop(cluster.members[2])
    with pytest.raises((Unavailable, TimedOut)) as raised:
        call("put", "k", "v3", timeout=0.3)
    assert raised.value.effect is not Effect.YES
    assert cluster.members[2].address in str(raised.value)
    asyncio.run_coroutine_threadsafe(cluster.members[0].start(), cluster._loop).result(5)
    assert call("put", "k", "v3").revision
    assert call("get", "k").version == 3


def test_an_idle_blocking_client_notices_that_its_connection_is_gone_before_it_sends() -> None:
    with Cluster(1) as cluster, connect(cluster.endpoints) as client:
        client.put("k", "v")
        cluster.stop(cluster.leader)
        threading.Event().wait(0.02)  # Idle for longer than the client trusts its connections unseen.
        with pytest.raises(Unavailable) as raised:
            client.put("k", "v2", session=False, timeout=0.2)
        assert raised.value.effect is Effect.NO


def test_what_is_too_large_is_refused_before_it_is_sent(call: Shell) -> None:
    with pytest.raises(InvalidRequest) as raised:
        call("put", "k", bytes(MAX_REQUEST_BYTES))
    assert raised.value.effect is Effect.NO
    assert str(MAX_REQUEST_BYTES) in str(raised.value)


def test_large_values_come_back_whole(call: Shell) -> None:
    value = bytes(range(256)) * 4000
    call("put", "k", value)
    assert call("get", "k").value == value


def test_an_answer_of_another_machine_is_an_error(call: Shell) -> None:
    with pytest.raises(MalformedReply):
        call("run", _wrong_call())


def _wrong_call() -> Any:
    put = calls.put("k", "v")
    return calls.Call(put.payload, calls.delete("k").decode, True, 5.0)


def test_status_comes_from_a_member(call: Shell, cluster: Cluster) -> None:
    status = call("status")
    assert status.leader == cluster.leader.id
    assert [m.name for m in status.members] == ["n1", "n2", "n3"]


def test_a_closed_client_says_so(cluster: Cluster) -> None:
    client = connect(cluster.endpoints)
    client.put("k", "v")
    client.close()
    client.close()
    with pytest.raises(ClientClosed):
        client.get("k")


def test_closing_ends_the_session(cluster: Cluster) -> None:
    with connect(cluster.endpoints) as client:
        client.put("k", "v")
        assert len(cluster.sessions) == 1
    deadline = threading.Event()
    for _ in range(200):
        if not cluster.sessions:
            break
        deadline.wait(0.01)
    assert not cluster.sessions


def test_threads_share_a_client_and_their_requests_are_in_flight_together(cluster: Cluster) -> None:
    failures: list[BaseException] = []

    def work(client: Client, number: int) -> None:
        try:
            for turn in range(50):
                client.put(f"k{number}", str(turn))
                item = client.get(f"k{number}")
                assert item is not None
                assert item.value == str(turn).encode()
        except BaseException as error:
            failures.append(error)

    with connect(cluster.endpoints) as client:
        threads = [threading.Thread(target=work, args=(client, number)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()
        assert not failures
        assert client.range("k", "l").count == 8


def test_a_thread_that_times_out_does_not_wait_for_the_one_that_watches(cluster: Cluster) -> None:
    for member in cluster.members:
        member.mute = True
    with connect(cluster.endpoints) as client:

        def wait_long() -> None:
            with pytest.raises(ClientClosed):
                client.get("a", timeout=3.0)

        patient = threading.Thread(target=wait_long)
        patient.start()
        with pytest.raises(Unavailable):
            client.get("b", timeout=0.1)
        assert patient.is_alive()
        for member in cluster.members:
            member.mute = False
        client.close()
        patient.join(5)
        assert not patient.is_alive()


def test_a_pipeline_answers_in_order(cluster: Cluster) -> None:
    with connect(cluster.endpoints) as client:
        replies = client.pipeline([calls.put(f"k{i}", "v") for i in range(500)])
        assert len({reply.revision for reply in replies}) == 500
        found = client.pipeline([calls.get("k7"), calls.put("k", bytes(MAX_REQUEST_BYTES)), calls.get("none")])
        assert found[0].value == b"v"
        assert isinstance(found[1], InvalidRequest)
        assert found[2] is None


def test_asyncio_calls_are_in_flight_together_and_can_be_cancelled(cluster: Cluster) -> None:
    async def main() -> None:
        async with connect_async(cluster.endpoints) as client:
            replies = await asyncio.gather(*(client.put(f"k{i}", "v") for i in range(300)))
            assert len({reply.revision for reply in replies}) == 300
            for member in cluster.members:
                member.mute = True
            task = asyncio.create_task(client.put("k", "v"))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            for member in cluster.members:
                member.mute = False

    asyncio.run(main())


def test_ipv6_endpoints_are_dialled() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 on this machine")
    with Cluster(1) as cluster:
        cluster.stop(cluster.leader)
        cluster.leader.host = "::1"
        asyncio.run_coroutine_threadsafe(cluster.leader.start(), cluster._loop).result(5)
        with connect(f"[::1]:{cluster.leader.port}") as client:
            assert client.put("k", "v").revision


@pytest.mark.parametrize(
    "text",
    [
        "",
        " , ",
        "host",
        "host:",
        ":1",
        "host:0",
        "host:65536",
        "host:x",
        "::1:1",
        "[::1]",
        "[::1]1",
        "http://h:1",
        "a b:1",
    ],
)
def test_malformed_endpoints_are_named_with_the_rule(text: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        connect(text)
    assert "host:port" in str(raised.value) or "[address]:port" in str(raised.value) or "65535" in str(raised.value)
