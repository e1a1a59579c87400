"""What administrators ask: done once, by the leader, answered when it is certain, refused with the reason."""

from __future__ import annotations

from typing import TypeVar

import msgspec
import pytest
from tests.contract.engine.cluster import Cluster

from coterie.core.settings import Settings
from coterie.core.types import MemberId
from coterie.engine.admin_requests import (
    AdminRequest,
    AskMembers,
    AskQuorums,
    AskSettings,
    ChangeMembers,
    ChangeQuorums,
    ChangeSetting,
    ClaimMember,
    MemberInfo,
    MemberList,
    MembersChanged,
    NewMember,
    QuorumSizes,
    TransferLeadership,
)
from coterie.engine.protocol import Answer, Failure, FailureCode, Happened, Submit

T = TypeVar("T")
ME = "administrator"
N4 = NewMember("n4", "n4:2380", "n4:2379")
CLAIM = 0xC1A1


class Office:
    """A cluster and an administrator who asks one thing after the other."""

    def __init__(self, size: int = 3) -> None:
        self.cluster = Cluster(size)
        self.leader, self.others = self.cluster.elect()
        self.last = 0

    def send(self, request: AdminRequest, at: MemberId | None = None) -> int:
        self.last += 1
        numbered = msgspec.structs.replace(request, id=self.last)
        self.cluster.request(self.leader if at is None else at, ME, numbered)
        return self.last

    def ask(self, request: AdminRequest, kind: type[T], at: MemberId | None = None) -> T:
        """Ask, let everything work, and decode the one answer."""
        id = self.send(request, at)
        self.cluster.run(2000, until=lambda: (ME, id) in self.cluster.answers)
        answer = self.cluster.only_answer(ME, id)
        assert isinstance(answer, Answer), answer
        return msgspec.msgpack.decode(answer.body, type=kind) if answer.body else kind()

    def refused(self, request: AdminRequest, at: MemberId | None = None) -> Failure:
        id = self.send(request, at)
        self.cluster.run(8000, until=lambda: (ME, id) in self.cluster.answers)
        answer = self.cluster.only_answer(ME, id)
        assert isinstance(answer, Failure), answer
        return answer

    def members(self) -> dict[str, MemberInfo]:
        return {member.name: member for member in self.ask(AskMembers(0), MemberList).members}

    def join(self, name: str = "n4") -> MemberId:
        """Add a learner, let it join, and wait until it has caught up."""
        changed = self.ask(ChangeMembers(0, add=(NewMember(name, f"{name}:2380", f"{name}:2379"),)), MembersChanged)
        (added,) = changed.added
        self.cluster.join(added.id, name)
        self.ask(ClaimMember(0, added.id, CLAIM, ""), MembersChanged)
        self.cluster.run(5000, until=lambda: self.members()[name].caught_up)
        return added.id

    def follow(self) -> None:
        """Whoever leads now is asked from now on."""
        self.cluster.run(5000, until=lambda: len(self.cluster.leaders()) == 1)
        (self.leader,) = self.cluster.leaders()


def test_a_learner_is_added_caught_up_promoted_and_removed() -> None:
    office = Office()
    id = office.join()
    listed = office.members()["n4"]
    assert (listed.id, listed.role, listed.voter, listed.behind) == (id, "learner", False, 0)
    office.ask(ChangeMembers(0, promote=("n4",)), MembersChanged)
    listed = office.members()["n4"]
    assert (listed.role, listed.voter, listed.healthy) == ("follower", True, True)
    office.ask(ChangeMembers(0, remove=("n4",)), MembersChanged)
    assert "n4" not in office.members()
    office.cluster.run(3000)
    assert [member.name for member in office.cluster.nodes[office.leader].departed] == ["n4"]
    assert [member.name for member in office.cluster.nodes[id].departed] == ["n4"], "it is told, too"
    assert office.cluster.nodes[id].engine.expelled


def test_the_answer_comes_when_no_joint_configuration_is_left() -> None:
    office = Office()
    office.join()
    office.cluster.cut(*office.others)
    id = office.send(ChangeMembers(0, remove=("n4",)))
    office.cluster.settle()
    assert (ME, id) not in office.cluster.answers
    office.cluster.heal()
    office.cluster.run(1500, until=lambda: (ME, id) in office.cluster.answers)
    assert isinstance(office.cluster.only_answer(ME, id), Answer)
    membership = office.cluster.nodes[office.leader].engine.replica.membership
    assert not membership.outgoing


def test_only_the_leader_does_it_and_others_say_who_that_is() -> None:
    office = Office()
    for request in (AskMembers(0), ChangeMembers(0, add=(N4,)), TransferLeadership(0, ""), AskSettings(0)):
        failure = office.refused(request, at=office.others[0])
        assert (failure.code, failure.happened, failure.leader) == (
            FailureCode.NOT_LEADER,
            Happened.NO,
            office.leader,
        )
        assert f"n{office.leader}" in failure.message


@pytest.mark.parametrize(
    ("request_", "code", "words"),
    [
        (ChangeMembers(0), FailureCode.INVALID, "changes nothing"),
        (ChangeMembers(0, add=(NewMember("n1", "x:1", ""),)), FailureCode.INVALID, "a member called n1 already"),
        (ChangeMembers(0, add=(N4, N4)), FailureCode.INVALID, "twice"),
        (ChangeMembers(0, add=(NewMember("n4", "n1:2380", ""),)), FailureCode.INVALID, "n1's"),
        (ChangeMembers(0, add=(NewMember("n 4", "x:1", ""),)), FailureCode.INVALID, "not a member's name"),
        (ChangeMembers(0, add=(NewMember("n4", "x", ""),)), FailureCode.INVALID, "peer address"),
        (ChangeMembers(0, add=(NewMember("n4", "x:1", "y"),)), FailureCode.INVALID, "client address"),
        (ChangeMembers(0, promote=("n9",)), FailureCode.INVALID, "no member is called 'n9'"),
        (ChangeMembers(0, promote=("n1",)), FailureCode.INVALID, "a voter already"),
        (ChangeMembers(0, remove=("n9",)), FailureCode.INVALID, "no member is called 'n9'"),
        (ChangeMembers(0, promote=("n1",), remove=("n1",)), FailureCode.INVALID, "in one change"),
        (ClaimMember(0, 99, CLAIM, ""), FailureCode.INVALID, "was removed"),
        (ClaimMember(0, 1, CLAIM, ""), FailureCode.INVALID, "has a data directory already"),
        (ClaimMember(0, 1, 0, ""), FailureCode.INVALID, "not 0"),
        (TransferLeadership(0, "n9"), FailureCode.INVALID, "no member is called 'n9'"),
        (ChangeSetting(0, "no_such", "1"), FailureCode.INVALID, "is not a setting"),
        (ChangeSetting(0, "version", "2"), FailureCode.INVALID, "not set by hand"),
        (ChangeSetting(0, "phase_2_quorum", "2"), FailureCode.INVALID, "part of the membership"),
        (ChangeQuorums(0, phase_2=-1), FailureCode.INVALID, "a quorum of -1"),
        (ChangeQuorums(0, phase_2=4), FailureCode.UNSAFE, "more than the 3 voters"),
        (ChangeQuorums(0, 1, 2), FailureCode.UNSAFE, "n1 could elect a leader while n2 n3 commit: they do not meet"),
        (ChangeQuorums(0, 2, 1), FailureCode.UNSAFE, "n1 n2 could elect a leader while n3 commit: they do not meet"),
        (ChangeSetting(0, "lease_reads", "maybe"), FailureCode.INVALID, "true or false"),
        (ChangeSetting(0, "snapshot_keep_entries", "-3"), FailureCode.INVALID, "whole number"),
        (ChangeSetting(0, "snapshot_log_bytes", "0"), FailureCode.INVALID, "from 1"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(request_: AdminRequest, code: FailureCode, words: str) -> None:
    failure = Office().refused(request_)
    assert (failure.code, failure.happened) == (code, Happened.NO)
    assert words in failure.message


def test_the_last_voter_stays() -> None:
    failure = Office(1).refused(ChangeMembers(0, remove=("n1",)))
    assert (failure.code, failure.happened) == (FailureCode.UNSAFE, Happened.NO)


def test_a_second_change_waits_for_nothing_it_is_refused() -> None:
    office = Office()
    office.cluster.cut(*office.others)
    first = office.send(ChangeMembers(0, add=(N4,)))
    failure = office.refused(ChangeMembers(0, add=(NewMember("n5", "n5:2380", ""),)))
    assert (failure.code, failure.happened) == (FailureCode.NOT_NOW, Happened.NO)
    office.cluster.heal()
    office.cluster.run(3000, until=lambda: (ME, first) in office.cluster.answers)


def test_a_change_without_a_quorum_is_unknown_in_the_end() -> None:
    office = Office()
    office.cluster.cut(*office.others)
    failure = office.refused(ChangeMembers(0, add=(N4,)))
    assert failure.happened is Happened.UNKNOWN


def test_a_change_that_was_lost_with_its_leader_did_not_happen() -> None:
    office = Office()
    office.cluster.cut(office.leader)
    id = office.send(ChangeMembers(0, add=(N4,)))
    old = office.leader
    office.cluster.run(4000, until=lambda: any(m != old for m in office.cluster.leaders()))
    office.cluster.heal()
    office.cluster.run(3000, until=lambda: (ME, id) in office.cluster.answers)
    answer = office.cluster.only_answer(ME, id)
    assert isinstance(answer, Failure)
    assert (answer.code, answer.happened) == (FailureCode.LEADER_LOST, Happened.NO)


def test_a_change_that_finds_itself_done_is_done_only_for_who_tried_before() -> None:
    office = Office()
    change = ChangeMembers(0, add=(N4,))
    first = office.ask(change, MembersChanged)
    assert office.refused(change).code is FailureCode.INVALID
    again = office.ask(msgspec.structs.replace(change, again=True), MembersChanged)
    assert again == first, "the same id: nothing was added twice"
    assert office.refused(ChangeMembers(0, add=(NewMember("n4", "z:1", ""),), again=True)).code is FailureCode.INVALID
    office.ask(ChangeMembers(0, remove=("n4",)), MembersChanged)
    assert office.refused(ChangeMembers(0, remove=("n4",))).code is FailureCode.INVALID
    office.ask(ChangeMembers(0, remove=("n4",), again=True), MembersChanged)
    office.ask(ChangeMembers(0, promote=("n1",), again=True), MembersChanged)


def test_one_directory_gets_an_id_and_no_other() -> None:
    office = Office()
    (added,) = office.ask(ChangeMembers(0, add=(NewMember("n4", "n4:2380", ""),)), MembersChanged).added
    office.ask(ClaimMember(0, added.id, CLAIM, "n4:1"), MembersChanged)
    office.ask(ClaimMember(0, added.id, CLAIM, "n4:1"), MembersChanged)
    refused = office.refused(ClaimMember(0, added.id, CLAIM + 1, "n4:1"))
    assert "has a data directory already" in refused.message
    listed = office.members()["n4"]
    assert (listed.client, listed.claimed) == ("n4:1", True)


def test_who_never_started_is_not_promoted_even_by_force() -> None:
    office = Office()
    office.ask(ChangeMembers(0, add=(N4,)), MembersChanged)
    for force in (False, True):
        failure = office.refused(ChangeMembers(0, promote=("n4",), force=force))
        assert (failure.code, failure.happened) == (FailureCode.NOT_NOW, Happened.NO)
        assert "never started" in failure.message


def test_who_is_behind_is_promoted_only_by_force_and_with_a_warning() -> None:
    office = Office()
    (added,) = office.ask(ChangeMembers(0, add=(N4,)), MembersChanged).added
    office.ask(ClaimMember(0, added.id, CLAIM, ""), MembersChanged)
    failure = office.refused(ChangeMembers(0, promote=("n4",)))
    assert (failure.code, failure.happened) == (FailureCode.NOT_NOW, Happened.NO)
    forced = office.ask(ChangeMembers(0, promote=("n4",), force=True), MembersChanged)
    assert "n4" in forced.warning
    assert office.cluster.nodes[office.leader].heard("forced-change")


def test_leadership_goes_where_it_is_sent() -> None:
    office = Office()
    to = office.others[0]
    assert office.ask(TransferLeadership(0, f"n{to}"), str) == f"n{to}"
    office.follow()
    assert office.leader == to
    assert office.ask(TransferLeadership(0, f"n{to}"), str) == f"n{to}", "who leads already is done at once"
    office.ask(TransferLeadership(0, ""), str)
    office.follow()
    assert office.leader != to


def test_leadership_stays_where_it_is_if_nobody_takes_over() -> None:
    office = Office()
    to = office.others[0]
    office.cluster.crash(to)
    failure = office.refused(TransferLeadership(0, f"n{to}"))
    assert (failure.code, failure.happened) == (FailureCode.NOT_NOW, Happened.NO)
    assert office.cluster.leaders() == [office.leader]


def test_a_member_that_stops_hands_over() -> None:
    office = Office()
    engine = office.cluster.nodes[office.leader].engine
    assert engine.hand_over(office.cluster.now)
    office.cluster.flush(office.leader)
    office.cluster.run(1000, until=lambda: not engine.leads)
    assert not engine.leads
    assert not Office(1).cluster.nodes[1].engine.hand_over(0), "nobody is there to take over"


def test_a_leader_that_removes_itself_answers_and_leaves() -> None:
    office = Office()
    old = office.leader
    office.ask(ChangeMembers(0, remove=(f"n{old}",)), MembersChanged)
    node = office.cluster.nodes[old]
    office.cluster.run(5000, until=lambda: node.engine.expelled)
    assert [member.id for member in node.departed] == [old]
    office.cluster.crash(old)
    office.follow()
    assert set(office.members()) == {"n1", "n2", "n3"} - {f"n{old}"}


def test_settings_change_everywhere_and_are_listed() -> None:
    office = Office()
    changed = office.ask(ChangeSetting(0, "max_sessions", "7"), Settings)
    assert changed.max_sessions == 7
    office.cluster.run(300)
    assert all(node.engine.host.settings.max_sessions == 7 for node in office.cluster.nodes.values())
    assert office.ask(AskSettings(0), Settings) == changed
    assert office.ask(ChangeSetting(0, "max_sessions", "7"), Settings) == changed, "what holds already is done"


def test_quorum_sizes_change_and_the_answer_says_what_else_did() -> None:
    office = Office(5)
    assert office.ask(AskQuorums(0), QuorumSizes) == QuorumSizes(5, 0, 0)
    changed = office.ask(ChangeQuorums(0, phase_2=2), QuorumSizes)
    assert (changed.phase_1, changed.phase_2) == (4, 2)
    assert "phase-1-quorum is raised from majority (3 of 5) to 4" in changed.note
    engine = office.cluster.nodes[office.leader].engine
    assert not engine.replica.membership.outgoing
    assert office.cluster.nodes[office.leader].heard("membership")[-1].endswith("quorums: 4 to elect, 2 to commit")
    assert office.ask(AskQuorums(0), QuorumSizes) == QuorumSizes(5, 4, 2)
    assert office.ask(ChangeQuorums(0, phase_2=2), QuorumSizes) == QuorumSizes(5, 4, 2), "what holds already is done"
    assert office.ask(ChangeQuorums(0, phase_2=0), QuorumSizes) == QuorumSizes(5, 4, 0, "phase-1-quorum stays 4")
    assert office.ask(ChangeQuorums(0, phase_1=0), QuorumSizes) == QuorumSizes(5, 0, 0)
    assert office.ask(ChangeQuorums(0, 5, 1), QuorumSizes) == QuorumSizes(5, 5, 1)
    lowered = office.ask(ChangeQuorums(0, phase_1=3), QuorumSizes)
    assert (lowered.phase_1, lowered.phase_2) == (3, 0)
    assert "phase-2-quorum is raised from 1 to majority (3 of 5)" in lowered.note


def test_two_of_five_commit_and_too_few_to_elect_keep_their_leader() -> None:
    office = Office(5)
    office.ask(ChangeQuorums(0, phase_2=2), QuorumSizes)
    for member in office.others[:3]:
        office.cluster.crash(member)
    office.cluster.request(office.leader, "client", Submit(1, 0, 0, 0, b"x"))
    office.cluster.run(3000, until=lambda: ("client", 1) in office.cluster.answers)
    assert isinstance(office.cluster.only_answer("client", 1), Answer)
    office.cluster.run(3000)
    failure = office.refused(TransferLeadership(0, f"n{office.others[3]}"))
    assert (failure.code, failure.happened) == (FailureCode.NOT_NOW, Happened.NO)
    assert "too few voters answer to elect anybody" in failure.message
    assert office.cluster.leaders() == [office.leader]
    failure = office.refused(ChangeQuorums(0, 0, 0))
    assert (failure.code, failure.happened) == (FailureCode.UNSAFE, Happened.NO)
    assert "too few voters would be left that answer" in failure.message


def test_a_majority_that_answers_gets_its_majorities_back() -> None:
    """Too few to elect by the old sizes: so they were before, and this helps."""
    office = Office(5)
    office.ask(ChangeQuorums(0, phase_2=2), QuorumSizes)
    for member in office.others[:2]:
        office.cluster.crash(member)
    office.cluster.run(3000)
    assert office.ask(ChangeQuorums(0, 0, 0), QuorumSizes) == QuorumSizes(5, 0, 0)
    office.cluster.crash(office.leader)
    office.cluster.restart(office.others[0])
    office.follow()


def test_a_change_of_sizes_waits_for_the_one_under_way() -> None:
    office = Office(5)
    office.cluster.cut(*office.others)
    first = office.send(ChangeQuorums(0, phase_2=2))
    second = office.send(ChangeQuorums(0, phase_2=2))
    office.cluster.heal()
    office.cluster.run(3000, until=lambda: (ME, second) in office.cluster.answers)
    for id in (first, second):
        answer = office.cluster.only_answer(ME, id)
        assert isinstance(answer, Answer)
        sizes = msgspec.msgpack.decode(answer.body, type=QuorumSizes)
        assert (sizes.phase_1, sizes.phase_2) == (4, 2)


def test_a_member_that_stops_takes_no_administrator_either() -> None:
    office = Office()
    office.cluster.nodes[office.leader].engine.stop(office.cluster.now)
    assert office.refused(AskMembers(0)).code is FailureCode.STOPPING


def test_so_many_administrators_and_no_more() -> None:
    office = Office()
    office.cluster.cut(*office.others)
    office.send(ChangeMembers(0, add=(N4,)))
    ids = [office.send(ChangeMembers(0, add=(N4,), again=True)) for _ in range(300)]
    codes = [a.code for id in ids for a in office.cluster.answers.get((ME, id), []) if isinstance(a, Failure)]
    assert FailureCode.OVERLOADED in codes


def test_commands_go_on_while_members_change() -> None:
    office = Office()
    office.join()
    office.cluster.request(office.leader, "client", Submit(1, 0, 0, 0, b"x"))
    id = office.send(ChangeMembers(0, promote=("n4",)))
    office.cluster.request(office.others[0], "client", Submit(2, 0, 0, 0, b"y"))
    office.cluster.run(2000, until=lambda: (ME, id) in office.cluster.answers)
    office.cluster.run(200)
    assert all(isinstance(office.cluster.only_answer("client", i), Answer) for i in (1, 2))


def test_a_claim_that_is_agreed_on_is_known_by_any_member_and_needs_no_leader() -> None:
    """Who was made a voter by force before it heard that may be one without whom nobody can be elected."""
    office = Office()
    (added,) = office.ask(ChangeMembers(0, add=(N4,)), MembersChanged).added
    follower = office.others[0]
    early = office.refused(ClaimMember(0, added.id, CLAIM, "n4:1"), follower)
    assert early.code is FailureCode.NOT_LEADER
    office.ask(ClaimMember(0, added.id, CLAIM, "n4:1"), MembersChanged)
    office.cluster.run(1000)
    office.ask(ClaimMember(0, added.id, CLAIM, "n4:1"), MembersChanged, follower)
    stranger = office.refused(ClaimMember(0, added.id, CLAIM + 1, "n4:1"), follower)
    assert stranger.code is FailureCode.NOT_LEADER
