"""Graceful ends, and starts of all, some and none of the members."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest
from tests.contract.processes.cluster import PATIENT, alive, cluster, lines_with
from tests.contract.processes.load import Load, read_everywhere
from tests.runtime.cluster import Process, until


@pytest.mark.slow
def test_sigterm_of_any_member_under_load_exits_0_and_clients_see_no_failure(tmp_path: Path) -> None:
    """A rolling restart: each member in turn, the leader among them, and the leader once more."""
    with cluster(tmp_path, flags=PATIENT) as members:
        members.ready()
        with Load(members.endpoints, seed=1) as load:
            for number in range(4):
                load.progress(20)
                node = members.nodes[number] if number < 3 else members.leader()
                assert members.stop(node) == [0]
                assert len(lines_with(node, "stopped node=")) == len(lines_with(node, "started node=", "boot="))
                load.progress(20, reads=5)
                members.start(node)
                until(lambda: members.agreed(members.nodes))
        read_everywhere(load.history, [node.client for node in members.nodes])
        assert load.history.failures == []
        assert load.history.unknown == []
        assert load.history.problems() == []


@pytest.mark.any_protocol
def test_all_members_stopped_at_once_under_load_have_everything_when_they_start_again(tmp_path: Path) -> None:
    with cluster(tmp_path, flags=PATIENT) as members:
        members.ready()
        with Load(members.endpoints, seed=2) as load:
            load.progress(30)
            assert members.stop(*members.nodes) == [0, 0, 0]
            before = load.history.acknowledged
            members.ready()
            load.progress(10, reads=3)
        assert load.history.failures == [], "clients wait out an outage that is shorter than their timeout"
        assert load.history.acknowledged >= before + 10
        read_everywhere(load.history, [node.client for node in members.nodes])
        assert load.history.problems() == []
        for node in members.nodes:
            assert "Traceback" not in node.lines()


def waits_for(node: Process, last: Process) -> bool:
    """It says for whom it waits, and what becomes of its attempts to reach it."""
    if not node.log.exists():
        return False
    waits = lines_with(node, "first-start-waits", f"missing={last.name}")
    return bool(waits and lines_with(node, "first-start-peer", f"peer={last.name}", last.peer, "refused"))


@pytest.mark.any_protocol
def test_a_first_start_waits_for_every_member_and_says_for_whom(tmp_path: Path) -> None:
    rng = random.Random(4)
    with cluster(tmp_path, flags=PATIENT) as members:
        last = rng.choice(members.nodes)
        others = [node for node in members.nodes if node is not last]
        members.start(*others)
        until(lambda: all(waits_for(node, last) for node in others))
        assert all(alive(node) and node.status() is None for node in others), "they serve nobody yet"
        members.start(last)
        until(lambda: members.agreed(members.nodes))
        assert len({status.cluster for node in members.nodes if (status := node.status()) is not None}) == 1
        with Load(members.endpoints, workers=1) as load:
            load.progress(5)
        assert load.history.failures == []


def test_two_of_three_go_on_after_a_restart_and_one_alone_does_not(tmp_path: Path) -> None:
    with cluster(tmp_path, flags=PATIENT) as members:
        members.ready()
        with Load(members.endpoints, workers=1) as load:
            load.progress(10)
            members.kill(*members.nodes)
            first, second, _ = members.nodes
            members.start(first)
            until(lambda: (status := first.status()) is not None and status.role in ("candidate", "follower"))
            count = load.history.acknowledged
            first.signal(signal.SIGTERM)
            assert first.wait() == 0
            assert load.history.acknowledged == count, "one of three decides nothing"
            members.start(first, second)
            members.leader([first, second])
            load.progress(10, reads=3)
        assert load.history.failures == []
        read_everywhere(load.history, [first.client, second.client])
        assert load.history.problems() == []
