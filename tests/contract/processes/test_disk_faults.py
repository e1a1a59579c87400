"""Disks that are full or read-only, under real processes: nothing acknowledged is lost, nothing hangs."""

from __future__ import annotations

import time
from pathlib import Path

import grpc
import pytest
from tests.contract.processes.cluster import PATIENT, Cluster, cluster, lines_with, make_leader, status_of
from tests.contract.processes.disks import set_read_only, small_disks
from tests.contract.processes.load import Load, read_everywhere
from tests.runtime.cluster import FAST, put, until

from coterie.client.blocking import connect
from coterie.client.errors import RequestError
from coterie.core.errors import Effect
from coterie.etcd.wire import rpc
from coterie.torture.disks import fill

DISK_MIB = 64
REQUEST_TIMEOUT_MS = 1500
VALUE_BYTES = 256 * 1024
MOST_WRITES = DISK_MIB * 1024 * 1024 // VALUE_BYTES
"""So many do not fit on one disk."""


def on_own_disks(members: Cluster, disks: list[Path]) -> None:
    """Put each member's data on a disk of its own, as many as there are."""
    for node, disk in zip(members.nodes, disks, strict=False):
        node.arguments[node.arguments.index("--data") + 1] = str(disk / node.name)


@pytest.mark.slow
def test_a_leader_whose_disk_is_full_gives_way_and_comes_back_without_a_restart(tmp_path: Path) -> None:
    with small_disks(tmp_path, 1, DISK_MIB) as disks, cluster(tmp_path, flags=FAST) as members:
        on_own_disks(members, disks)
        members.ready()
        small = members.nodes[0]
        make_leader(members, small)
        boot = status_of(small).boot
        with Load(members.endpoints, workers=4, value_bytes=16 * 1024) as load:
            load.progress(20)
            filler = fill(disks[0])
            until(lambda: lines_with(small, "disk-full"), 30)
            assert lines_with(small, "disk-full", str(disks[0]), "No space left on device")
            assert members.leader(members.nodes[1:]) is not small
            load.progress(20, reads=5)
            failed = list(load.history.failures)
            load.progress(20, reads=5)
            assert load.history.failures == failed, "since the others took over nothing fails"
            assert all(said.startswith(("NoSpace (no)", "Overloaded (no)")) for said in failed), failed
            filler.unlink()
            until(lambda: lines_with(small, "disk-has-space-again"))
            until(lambda: members.agreed(members.nodes))
            load.progress(20, reads=5)
            assert load.history.failures == failed
        read_everywhere(load.history, [node.client for node in members.nodes])
        assert load.history.problems() == []
        assert status_of(small).boot == boot


@pytest.mark.any_protocol
@pytest.mark.slow
def test_when_every_disk_is_full_clients_are_told_and_nothing_that_was_acknowledged_is_lost(tmp_path: Path) -> None:
    flags = ("--request-timeout-ms", str(REQUEST_TIMEOUT_MS), *PATIENT)
    with small_disks(tmp_path, 3, DISK_MIB) as disks, cluster(tmp_path, flags=flags) as members:
        on_own_disks(members, disks)
        members.ready()
        put(members.nodes[0], b"before", b"1")
        boots = [status_of(node).boot for node in members.nodes]
        fillers = [fill(disk) for disk in disks]
        acknowledged: list[str] = []
        failures: list[RequestError] = []
        with connect(members.endpoints) as client:
            for number in range(MOST_WRITES):
                began = time.monotonic()
                try:
                    client.put(f"full-{number}", bytes(VALUE_BYTES), timeout=3.0)
                    acknowledged.append(f"full-{number}")
                except RequestError as error:
                    failures.append(error)
                assert time.monotonic() - began < 8.0, "told in time, not left hanging"
                if len(failures) == 2:
                    break
            assert len(failures) == 2, "the disks should be full by now"
            for failure in failures:
                assert "full" in str(failure), f"{type(failure).__name__}: {failure}"
                assert failure.effect is not Effect.YES
                assert failure.advice
            until(lambda: all(lines_with(node, "disk-full") for node in members.nodes[:1]))
            for filler in fillers:
                filler.unlink()
            # They go on by themselves.
            until(
                lambda: all(len(lines_with(n, "disk-full")) == len(lines_with(n, "space-again")) for n in members.nodes)
            )
            client.put("after", "2", timeout=20.0)
            for key in acknowledged:
                item = client.get(key)
                assert item is not None
                assert item.value == bytes(VALUE_BYTES)
        assert [status_of(node).boot for node in members.nodes] == boots
        # And what is on the disks is all of it.
        members.kill(*members.nodes)
        members.ready()
        with connect(members.endpoints) as client:
            for key in ("before", "after", *acknowledged):
                assert client.get(key) is not None, key


def problems(address: str) -> list[str]:
    """What a member says is wrong with it."""
    with grpc.insecure_channel(address) as channel:
        ask = channel.unary_unary(
            "/etcdserverpb.Maintenance/Status", response_deserializer=rpc.StatusResponse.FromString
        )
        return list(ask(b"", timeout=5).errors)


@pytest.mark.any_protocol
@pytest.mark.slow
def test_clients_of_etcds_api_are_told_of_full_disks_and_read_on_and_write_again_when_there_is_space(
    tmp_path: Path,
) -> None:
    flags = ("--request-timeout-ms", str(REQUEST_TIMEOUT_MS), *PATIENT)
    with small_disks(tmp_path, 3, DISK_MIB) as disks, cluster(tmp_path, flags=flags) as members:
        on_own_disks(members, disks)
        members.ready()
        asked = members.nodes[1]
        with grpc.insecure_channel(asked.client, [("grpc.max_receive_message_length", -1)]) as channel:
            put_ = channel.unary_unary("/etcdserverpb.KV/Put", rpc.PutRequest.SerializeToString)
            range_ = channel.unary_unary(
                "/etcdserverpb.KV/Range", rpc.RangeRequest.SerializeToString, rpc.RangeResponse.FromString
            )
            put_(rpc.PutRequest(key=b"before", value=b"1"), timeout=10)
            fillers = [fill(disk) for disk in disks]
            acknowledged: list[bytes] = []
            refusals: list[grpc.RpcError] = []
            for number in range(MOST_WRITES):
                try:
                    put_(rpc.PutRequest(key=b"full-%d" % number, value=bytes(VALUE_BYTES)), timeout=8)
                    acknowledged.append(b"full-%d" % number)
                except grpc.RpcError as error:
                    refusals.append(error)
                if len(refusals) == 3:
                    break
            assert len(refusals) == 3, "the disks should be full by now"
            said = {(error.code().name, error.details()) for error in refusals}
            assert said <= {
                ("RESOURCE_EXHAUSTED", "etcdserver: mvcc: database space exceeded"),
                ("RESOURCE_EXHAUSTED", "etcdserver: too many requests"),
                ("UNAVAILABLE", "etcdserver: request timed out"),
            }
            until(lambda: any("disk is full" in each for node in members.nodes for each in problems(node.client)))
            for serializable in (True, False):
                found = range_(rpc.RangeRequest(key=b"before", serializable=serializable), timeout=10)
                assert [pair.value for pair in found.kvs] == [b"1"]
            for filler in fillers:
                filler.unlink()
            until(
                lambda: all(len(lines_with(n, "disk-full")) == len(lines_with(n, "space-again")) for n in members.nodes)
            )
            put_(rpc.PutRequest(key=b"after", value=b"2"), timeout=20)
            for key in (b"before", b"after", *acknowledged):
                assert range_(rpc.RangeRequest(key=key), timeout=10).count == 1, key


@pytest.mark.any_protocol
def test_a_read_only_directory_is_one_clear_line_and_the_others_go_on(tmp_path: Path) -> None:
    with small_disks(tmp_path, 2, DISK_MIB) as disks, cluster(tmp_path, flags=PATIENT) as members:
        on_own_disks(members, disks[:1])
        members.ready()
        node = members.nodes[0]
        members.kill(node)
        set_read_only(disks[0])
        with Load(members.endpoints, workers=2) as load:
            load.progress(5)
            node.start()
            assert node.wait() == 3
            load.progress(5)
        assert load.history.failures == []
        last = node.lines().splitlines()[-1]
        assert last.startswith("coterie: ")
        assert str(disks[0]) in last
        assert "cannot be written" in last
        # The same for a directory that is to be made.
        set_read_only(disks[1])
        new = node.arguments.index("--data") + 1
        node.arguments[new] = str(disks[1] / "new")
        node.start()
        assert node.wait() == 3
        last = node.lines().splitlines()[-1]
        assert last.startswith("coterie: ")
        assert str(disks[1]) in last
        assert "Traceback" not in node.lines()
