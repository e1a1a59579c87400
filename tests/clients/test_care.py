"""Members and maintenance through etcd's API: what operators do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.clients.calls import Calls
from tests.clients.servers import Server, coterie_server
from tests.protocol import protocol_under_test
from tests.runtime.cluster import ROOT, free_port_block, until

import coterie
from coterie.etcd.wire import rpc

pytestmark = [pytest.mark.slow, pytest.mark.any_protocol]
MIB = 1024 * 1024


def refusal(call: Any) -> str:
    with pytest.raises(grpc.RpcError) as raised:
        call()
    details: str = raised.value.details()
    return details


@pytest.mark.clients
def test_where_the_quota_is_reached_puts_are_refused_until_space_was_made_and_the_alarm_cleared(
    tmp_path: Path, protocol: str
) -> None:
    with coterie_server(tmp_path) as server, Calls(server.endpoint) as calls:
        with coterie.connect(server.endpoint) as client:
            client.set_setting("quota_bytes", MIB)
        put = rpc.PutRequest(key=b"k", value=b"v" * 100_000)

        def full() -> bool:
            outcome = calls.outcome(put)
            return isinstance(outcome, tuple)

        until(full, 60)
        assert calls.outcome(put) == ("RESOURCE_EXHAUSTED", "etcdserver: mvcc: database space exceeded")
        until(lambda: len(calls(rpc.AlarmRequest()).alarms) >= 1, 10)
        with Calls(server.endpoints[1]) as other:
            assert other.outcome(put) == ("RESOURCE_EXHAUSTED", "etcdserver: mvcc: database space exceeded")
            lease = other.outcome(rpc.LeaseGrantRequest(TTL=60))
            assert lease == ("RESOURCE_EXHAUSTED", "etcdserver: mvcc: database space exceeded")
            assert len(other(rpc.RangeRequest(key=b"k")).kvs) == 1, "reads go on"
        revision = calls(rpc.DeleteRangeRequest(key=b"k")).header.revision
        calls(rpc.CompactionRequest(revision=revision, physical=True))

        # Space is free once flushes have swept, which needs no writes: they are refused still.
        until(lambda: calls.status().dbSizeInUse < MIB // 2, 30)
        with Calls(server.endpoints[1]) as other:
            until(lambda: other.status().dbSizeInUse < MIB // 2, 30)
        for member in calls(rpc.AlarmRequest()).alarms:
            calls(rpc.AlarmRequest(action=rpc.AlarmRequest.DEACTIVATE, memberID=member.memberID, alarm=rpc.NOSPACE))
        until(lambda: not isinstance(calls.outcome(rpc.PutRequest(key=b"k", value=b"small")), tuple), 5)


def _join(server: Server, scratch: Path, name: str, peer: str, client: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "coterie", "node", "--name", name, "--data", str(scratch / name)]
    command += ["--peer", peer, "--client", client, "--join", ",".join(server.endpoints)]
    with (scratch / f"{name}.log").open("ab") as log:
        environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
        return subprocess.Popen(command, stdout=log, stderr=log, cwd=scratch, env=environment)


def test_a_member_that_is_added_by_its_address_joins_under_its_name_and_is_a_voter_when_it_has_caught_up(
    tmp_path: Path, protocol: str
) -> None:
    first = free_port_block(2)
    peer, client = f"127.0.0.1:{first}", f"127.0.0.1:{first + 1}"
    with coterie_server(tmp_path) as server, Calls(server.endpoint) as calls:
        calls(rpc.PutRequest(key=b"k", value=b"v"))
        answer = calls(rpc.MemberAddRequest(peerURLs=[f"http://{peer}"]))
        assert [list(answer.member.peerURLs), answer.member.isLearner] == [[f"http://{peer}"], True]
        assert len(answer.members) == 4
        again = calls.outcome(rpc.MemberAddRequest(peerURLs=[f"http://{peer}"]))
        assert again == ("FAILED_PRECONDITION", "etcdserver: Peer URLs already exists")
        joined = _join(server, tmp_path, "fourth", peer, client)
        try:

            def member() -> rpc.Member:
                found: list[rpc.Member] = list(calls(rpc.MemberListRequest(linearizable=True)).members)
                return next(each for each in found if each.ID == answer.member.ID)

            until(lambda: member().name == "fourth" and not member().isLearner, 60)
            assert list(member().clientURLs) == [f"http://{client}"]
            with Calls(client) as there:
                assert there(rpc.RangeRequest(key=b"k")).kvs[0].value == b"v"
            removed = calls(rpc.MemberRemoveRequest(ID=answer.member.ID))
            assert len(removed.members) == 3
            assert joined.wait(30) == 0
        finally:
            joined.kill()
            joined.wait()


def test_leadership_moves_where_it_is_asked_to_and_only_the_leader_is_asked(tmp_path: Path, protocol: str) -> None:
    assert protocol_under_test() == protocol
    with coterie_server(tmp_path) as server:
        leader = server.leader()
        other = (leader + 1) % 3
        with Calls(server.endpoints[leader]) as there, Calls(server.endpoints[other]) as here:
            target = here.status().header.member_id
            move = rpc.MoveLeaderRequest(targetID=target)
            assert here.outcome(move) == ("FAILED_PRECONDITION", "etcdserver: not leader")
            assert there.outcome(rpc.MoveLeaderRequest(targetID=7)) == (
                "FAILED_PRECONDITION",
                "etcdserver: bad leader transferee",
            )
            there(move)
            until(lambda: here.status().leader == target, 10)


def test_every_member_hashes_the_same_data_alike(tmp_path: Path, protocol: str) -> None:
    with coterie_server(tmp_path) as server, Calls(server.endpoint) as calls:
        for number in range(20):
            calls(rpc.PutRequest(key=b"k%d" % (number % 7), value=b"v%d" % number))
        revision = calls(rpc.DeleteRangeRequest(key=b"k3")).header.revision
        calls(rpc.CompactionRequest(revision=10))
        hashes = set()
        for endpoint in server.endpoints:
            with Calls(endpoint) as each:
                each(rpc.RangeRequest(key=b"k"))  # it has all that the others have
                hashes.add(each(rpc.HashKVRequest(revision=revision)).hash)
        assert len(hashes) == 1
        assert refusal(lambda: calls(rpc.HashKVRequest(revision=5))).endswith("has been compacted")
