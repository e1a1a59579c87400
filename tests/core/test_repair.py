"""A member whose log was damaged is silent until it is whole, and its leader counts it for nothing until then."""

from __future__ import annotations

import msgspec
import pytest
from tests.core.one_member import ONE, THREE_, TWO, OneMember, commands, first, reply

from coterie.core.messages import (
    Append,
    AppendReply,
    Canvass,
    Message,
    Prepare,
    PreVote,
    PreVoteReply,
    Pull,
    RequestVote,
    TimeoutNow,
    VoteReply,
)
from coterie.core.raft.replica import Raft
from coterie.core.records import Put, SaveHardState
from coterie.core.repair import complete
from coterie.core.replica import ReadReady, Refusal, Refused
from coterie.core.types import NO_EPOCH, Epoch, HardState, Index, Repair, Role

OWED = Repair(3, ONE)


def append(epoch: Epoch = ONE, commit: Index = 0, lag: int = -1) -> Append:
    return Append(epoch, 0, NO_EPOCH, (), commit, 1, 0, lag)


@pytest.mark.parametrize(
    ("message", "matched", "whole"),
    [
        (append(), 3, True),
        (append(), 2, False),
        (append(commit=2, lag=5), 2, False),
        (append(TWO, commit=2, lag=5), 2, True),
        (append(TWO, commit=2, lag=0), 2, True),
        (append(TWO, commit=2, lag=-1), 2, False),
        (append(TWO, commit=2, lag=5), 1, False),
        (append(TWO, commit=9, lag=5), 3, True),
    ],
    ids=[
        "the old end",
        "not the old end",
        "in the same epoch a commit says nothing",
        "in a later epoch it does",
        "and at once",
        "but not before an entry of that epoch is committed",
        "and not before it is taken",
        "or the old end",
    ],
)
def test_what_makes_a_log_whole(message: Append, matched: Index, whole: bool) -> None:
    assert complete(OWED, message, matched) is whole


@pytest.mark.parametrize(
    "message",
    [
        PreVote(THREE_, 9, TWO),
        RequestVote(THREE_, 9, TWO),
        RequestVote(THREE_, 9, TWO, transfer=True),
        Pull(THREE_, 1, 0, NO_EPOCH),
        Canvass(9, 0),
        Prepare(Epoch(9, 1), 1, (), 0),
        TimeoutNow(ONE),
    ],
    ids=lambda message: type(message).__name__,
)
def test_who_owes_a_repair_answers_no_question_and_writes_nothing(message: Message) -> None:
    member = OneMember(repair=OWED)
    member.append((first(),), (0, NO_EPOCH), 1)
    member.stored()
    member.now += 10**10
    effects = member.receive(message)
    assert (effects.send, effects.send_after, effects.store) == ([], [], None)
    assert member.replica.epoch == ONE


def test_who_owes_a_repair_never_campaigns() -> None:
    member = OneMember((first(),), repair=OWED)
    for _ in range(20):
        member.now = member.drain().deadline
        member.replica.wake(member.now)
        effects = member.drain()
        assert (effects.send, effects.send_after, effects.store) == ([], [], None)
    assert member.replica.role is Role.FOLLOWER


def test_the_end_of_a_repair_is_written_behind_what_was_given_back_and_told_when_both_are_durable() -> None:
    member = OneMember(repair=OWED)
    early = member.append((first(), *commands(2, 1)), (0, NO_EPOCH), 1)
    assert early.store is not None
    ((_, _, hint),) = early.send_after
    assert isinstance(hint, AppendReply)
    assert (hint.accepted, hint.index, hint.repairing) == (True, 2, True)
    member.stored()
    effects = member.append(commands(3, 1), (2, ONE), 1)
    assert effects.store is not None
    put, end = effects.store.records
    assert isinstance(put, Put)
    assert end == SaveHardState(HardState(ONE))
    assert effects.send == []
    ((mark, _, word),) = effects.send_after
    assert mark == effects.store.mark
    assert isinstance(word, AppendReply)
    assert (word.accepted, word.index, word.repairing) == (True, 3, False)
    assert member.replica.repair is None


def test_even_a_heartbeat_is_answered_as_whole_only_when_the_disk_says_so() -> None:
    """All entries are durable, and the leader's word makes the log whole: nothing but that is written."""
    member = OneMember((first(), *commands(2, 1)), repair=Repair(9, ONE), epoch=TWO)
    effects = member.receive(Append(TWO, 2, ONE, (), 2, 1, 0, 5))
    assert [type(message) for _, message in effects.send] == [AppendReply], "once it is stored, as `receive` does"
    assert effects.store is not None
    assert effects.store.records == (SaveHardState(HardState(TWO)),)
    again = OneMember((first(), *commands(2, 1)), repair=Repair(9, ONE), epoch=TWO)
    again.replica.receive(again.now, 1, Append(TWO, 2, ONE, (), 2, 1, 0, 5))
    assert again.drain().send == []


def test_a_debt_outlives_a_newer_epoch() -> None:
    member = OneMember(repair=OWED)
    effects = member.receive(Append(TWO, 0, NO_EPOCH, (first(),), 1, 1, 0, -1))
    assert effects.store is not None
    assert SaveHardState(HardState(TWO, repair=OWED)) in effects.store.records
    assert member.replica.repair == OWED


# The leader


def leader() -> OneMember:
    """Member 1 of three leads epoch 2, by the vote of member 2; its log ends with its own entry, 3."""
    member = OneMember((first(), *commands(2, 1)), own=1)
    member.now = member.drain().deadline
    member.replica.wake(member.now)
    member.drain()
    member.receive(PreVoteReply(ONE, TWO, True), 2)
    member.stored()
    member.receive(VoteReply(TWO, True), 2)
    member.stored()
    assert member.replica.role is Role.LEADER
    return member


def answer(index: Index, *, repairing: bool, round_: int = 1) -> AppendReply:
    return AppendReply(TWO, True, index, 0, NO_EPOCH, round_, 0, repairing)


def test_what_a_member_holds_that_is_being_repaired_is_not_counted_until_it_is_whole() -> None:
    member = leader()
    assert isinstance(member.replica, Raft)
    member.receive(answer(3, repairing=True), 2)
    assert member.replica.commit < 3
    assert [p.mode for p in member.replica.progress(member.now) if p.id == 2] == ["repair"]
    member.receive(answer(3, repairing=False), 2)
    assert member.replica.commit == 3, "at once, though it tells of no further entry"


def test_what_was_acknowledged_before_the_damage_is_forgotten_and_sent_again() -> None:
    member = leader()
    member.receive(answer(3, repairing=False), 2)
    member.receive(answer(3, repairing=False), 3)
    refusal = AppendReply(TWO, False, 3, 0, NO_EPOCH, 1, 0, True)
    sent = [message for to, message in member.receive(refusal, 2).send if to == 2]
    assert [(m.prev_index, [e.index for e in m.entries]) for m in sent if isinstance(m, Append)] == [(0, [1, 2])]
    assert [p.match for p in member.replica.progress(member.now) if p.id == 2] == [0]


def test_a_round_is_not_confirmed_by_a_member_that_is_being_repaired() -> None:
    member = leader()
    member.receive(answer(3, repairing=False), 3)
    member.replica.read(member.now, 77)
    asked = [m.round for to, m in member.drain().send if to == 2 and isinstance(m, Append)][-1]
    assert member.receive(answer(3, repairing=True, round_=asked), 2).reads == []
    assert member.receive(answer(3, repairing=False, round_=asked), 3).reads == [ReadReady(77, 3)]


def test_leadership_is_not_handed_to_a_member_that_is_being_repaired() -> None:
    member = leader()
    member.receive(answer(3, repairing=False), 3)
    member.receive(answer(3, repairing=True), 2)
    member.replica.transfer_leadership(member.now, 5, 2)
    (refused,) = member.drain().outcomes
    assert isinstance(refused, Refused)
    assert (refused.reason, "being repaired" in refused.detail) == (Refusal.TRANSFER_FAILED, True)
    member.replica.transfer_leadership(member.now, 6, 0)
    assert [to for to, message in member.drain().send if isinstance(message, TimeoutNow)] == [3]


def test_messages_without_the_field_are_of_members_that_owe_nothing() -> None:
    data = msgspec.msgpack.encode([6, TWO, True, 3, 0, NO_EPOCH, 1, 0])
    assert msgspec.msgpack.decode(data, type=AppendReply) == answer(3, repairing=False)
    assert isinstance(reply(OneMember((first(),)).receive(PreVote(TWO, 9, ONE))), PreVoteReply)


def test_a_yes_before_an_election_waits_until_the_end_of_a_repair_is_durable() -> None:
    """A crash before that would leave a member that owes a repair, and has spoken."""
    member = OneMember((first(), *commands(2, 1)), repair=Repair(9, ONE), epoch=TWO)
    member.replica.receive(member.now, 1, Append(TWO, 2, ONE, (), 2, 1, 0, 5))
    member.drain()
    assert member.replica.repair is None
    member.now += 10**10
    member.replica.receive(member.now, 1, PreVote(THREE_, 9, TWO))
    effects = member.drain()
    assert [m for _, m in effects.send if isinstance(m, PreVoteReply)] == []
    assert [m.granted for _, _, m in effects.send_after if isinstance(m, PreVoteReply)] == [True]
