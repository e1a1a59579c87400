"""The network between real processes falls apart: no stale answer, no lost write, and it heals by itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.contract.processes.cluster import make_leader, status_of
from tests.contract.processes.load import Load, read_everywhere
from tests.contract.processes.wires import others_of, wired_cluster
from tests.runtime.cluster import FAST, Caller, put, until

from coterie.engine.protocol import Answer, Failure, Query, ReadMode
from coterie.machine.kv.protocol import Range, RangeReply, encoder, reply_decoder

SLOW_TO_GIVE_UP = ("--election-timeout-ms", "3000")


def answer_to(caller: Caller) -> Answer | Failure:
    while not isinstance(answer := caller.receive(), Answer | Failure):
        pass
    return answer


@pytest.mark.slow
def test_a_leader_that_is_cut_off_and_does_not_know_it_answers_no_linearizable_read(tmp_path: Path) -> None:
    """It goes on believing in its leadership for seconds, while the others elect, write and acknowledge."""
    with wired_cluster(tmp_path, flags=FAST) as (members, wires):
        old, *rest = members.nodes
        old.arguments += SLOW_TO_GIVE_UP
        members.ready()
        make_leader(members, old)
        put(old, b"k", b"before")
        callers = [Caller(old.client, timeout=20.0) for _ in range(3)]
        with Load(members.endpoints, seed=11) as load:
            load.progress(10)
            wires.cut(old.name, others_of(members, old))
            new = members.leader(rest)
            put(new, b"k", b"after")
            status = status_of(old)
            assert (status.role, status.epoch_round < status_of(new).epoch_round) == ("leader", True)
            for caller in callers:
                for number in range(20):
                    caller.send(Query(number, ReadMode.LINEARIZABLE, 0, encoder.encode(Range(b"k"))))
            load.progress(10, reads=3)
            until(lambda: status_of(old).role != "leader")
            wires.heal()
            until(lambda: members.agreed(members.nodes))
            load.progress(10, reads=3)
        for caller in callers:
            for _ in range(20):
                answer = answer_to(caller)
                if isinstance(answer, Answer):
                    reply = reply_decoder.decode(answer.body)
                    assert isinstance(reply, RangeReply)
                    assert [item.value for item in reply.items] == [b"after"]
            caller.close()
        read_everywhere(load.history, [node.client for node in members.nodes])
        assert load.history.failures == []
        assert load.history.problems() == []


@pytest.mark.any_protocol
@pytest.mark.slow
def test_members_cut_off_in_turn_keep_the_history_right(tmp_path: Path) -> None:
    """A leader, a follower, and each wire alone: what one member sees of the others differs."""
    with wired_cluster(tmp_path, flags=FAST) as (members, wires):
        members.ready()
        with Load(members.endpoints, seed=12) as load:
            for number in range(5):
                load.progress(10)
                leader = members.leader()
                follower = members.followers()[0]
                if number % 3 == 0:
                    wires.cut(leader.name, others_of(members, leader))
                elif number % 3 == 1:
                    wires.cut(follower.name, others_of(members, follower))
                else:
                    wires.cut(leader.name, [follower.name])
                load.progress(10, reads=3)
                wires.heal()
                until(lambda: members.agreed(members.nodes))
        read_everywhere(load.history, [node.client for node in members.nodes])
        assert load.history.failures == []
        assert load.history.problems() == []
