"""Members are killed and paused under load: what clients were told stays true."""

from __future__ import annotations

import functools
import random
import time
from pathlib import Path

import pytest
from tests.contract.processes.cluster import Cluster, alive, cluster, pause, resume
from tests.contract.processes.load import Load, read_everywhere
from tests.runtime.cluster import FAST, Caller, Process, put, until

from coterie.engine.protocol import Answer, Failure, Query, ReadMode
from coterie.machine.kv.protocol import Range, RangeReply, encoder, reply_decoder


def passed(moment: float) -> bool:
    return time.monotonic() > moment


def victims(rng: random.Random, members: Cluster, round_number: int) -> list[Process]:
    """Whom to kill: the leader more often than not, at times two or all."""
    kind = ("leader", "one", "leader", "two", "leader", "all", "leader", "two", "one", "all")[round_number % 10]
    if kind == "all":
        return members.nodes[:]
    leader = members.leader()
    if kind == "leader":
        return [leader]
    if kind == "one":
        return [rng.choice(members.nodes)]
    return [leader, rng.choice([node for node in members.nodes if node is not leader])]


@pytest.mark.slow
def test_a_history_under_ten_rounds_of_kill_9_is_linearizable_and_exactly_once(tmp_path: Path) -> None:
    rng = random.Random(7)
    with cluster(tmp_path) as members:
        members.ready()
        with Load(members.endpoints, seed=7) as load:
            load.progress(20)
            for round_number in range(10):
                dead = victims(rng, members, round_number)
                members.kill(*dead)
                if len(dead) == 1 and round_number % 4:
                    load.progress(10)  # two of three go on by themselves
                members.start()
                load.progress(25, reads=3)
        members.ready()
        read_everywhere(load.history, [node.client for node in members.nodes])
        assert load.history.problems() == []
        assert load.history.acknowledged >= 200
        boots = [status.boot for node in members.nodes if (status := node.status()) is not None]
        assert min(boots) >= 4, "a kill may come before the start of the last one was counted, but not each"


@pytest.mark.slow
def test_a_leader_that_was_paused_is_replaced_and_serves_no_stale_read_afterwards(tmp_path: Path) -> None:
    with cluster(tmp_path) as members:
        members.ready()
        with Load(members.endpoints, seed=8) as load:
            load.progress(20)
            for _ in range(2):
                old = members.leader()
                rest = [node for node in members.nodes if node is not old]
                old_epoch = (members.leader().status() or pytest.fail("the leader does not answer")).epoch_round
                impatient = [Caller(old.client, timeout=20.0) for _ in range(3)]
                pause(old)
                enough = time.monotonic() + 3.0
                new = members.leader(rest)
                assert new is not old
                status = new.status()
                assert status is not None
                assert status.epoch_round > old_epoch
                load.progress(10, reads=3)
                until(functools.partial(passed, enough), 5)
                put(new, b"taken-over", b"%d" % status.epoch_round)
                # These reads begin after that write, and lie in the old leader's sockets when it wakes up.
                for caller in impatient:
                    for number in range(20):
                        caller.send(Query(number, ReadMode.LINEARIZABLE, 0, encoder.encode(Range(b"taken-over"))))
                resume(old)
                for caller in impatient:
                    for _ in range(20):
                        answer = caller.receive()
                        while not isinstance(answer, Answer | Failure):
                            answer = caller.receive()
                        if isinstance(answer, Answer):
                            reply = reply_decoder.decode(answer.body)
                            assert isinstance(reply, RangeReply)
                            assert [item.value for item in reply.items] == [b"%d" % status.epoch_round]
                    caller.close()
                until(lambda: members.agreed(members.nodes))
                load.progress(10, reads=3)
        read_everywhere(load.history, [node.client for node in members.nodes])
        assert load.history.problems() == []
        assert load.history.failures == []
        assert all(alive(node) for node in members.nodes)


@pytest.mark.any_protocol
@pytest.mark.slow
def test_any_member_may_be_paused_and_killed_while_another_restarts(tmp_path: Path) -> None:
    """Pauses longer than an election, kills of the paused, restarts into a cluster that elects."""
    rng = random.Random(9)
    with cluster(tmp_path, flags=FAST) as members:
        members.ready()
        with Load(members.endpoints, seed=9) as load:
            for _ in range(4):
                load.progress(10)
                one, two = rng.sample(members.nodes, 2)
                pause(one)
                members.kill(two)
                members.start(two)
                load.progress(5)
                if rng.randrange(2):
                    members.kill(one)
                    members.start(one)
                else:
                    resume(one)
        members.ready()
        read_everywhere(load.history, [node.client for node in members.nodes])
        assert load.history.problems() == []
