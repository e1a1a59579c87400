"""The Election service: one leader at a time, and whoever observes is told of each."""

from __future__ import annotations

from tests.contract.etcd.serving import (
    CAMPAIGN,
    LEADER,
    OBSERVE,
    PROCLAIM,
    RESIGN,
    REVOKE,
    Call,
    ServedCluster,
    elected,
    seconds,
)

from coterie.core.types import MemberId
from coterie.etcd.status import Code
from coterie.etcd.wire import election, rpc

NOT_LEADER = (Code.UNKNOWN, "election: not leader")


def campaign(cluster: ServedCluster, member: MemberId, value: bytes, lease: int = 0) -> Call[election.CampaignResponse]:
    lease = lease or cluster.grant(member, 60)
    call = cluster.call(member, CAMPAIGN, election.CampaignRequest(name=b"E", lease=lease, value=value))
    cluster.run(100)
    return call


def resign(cluster: ServedCluster, member: MemberId, call: Call[election.CampaignResponse]) -> None:
    cluster.ask(member, RESIGN, election.ResignRequest(leader=call.answer.leader))
    cluster.run(100)


def leader_of(cluster: ServedCluster, member: MemberId) -> bytes:
    return cluster.ask(member, LEADER, election.LeaderRequest(name=b"E")).kv.value


def observe(cluster: ServedCluster, member: MemberId) -> Call[election.LeaderResponse]:
    call = cluster.call(member, OBSERVE)
    call.say(election.LeaderRequest(name=b"E"))
    return call


def seen(call: Call[election.LeaderResponse]) -> list[bytes]:
    return [answer.kv.value for answer in call.answers]


def test_one_is_elected_and_the_next_one_when_it_resigns() -> None:
    cluster, leader, others = elected()
    members = (leader, *others)
    calls = [campaign(cluster, member, b"%d" % place) for place, member in enumerate(members)]
    for place, member in enumerate(members):
        assert [call.over() for call in calls] == [True] * (place + 1) + [False] * (2 - place)
        assert [leader_of(cluster, any) for any in members] == [b"%d" % place] * 3
        resign(cluster, member, calls[place])
    text = "election: no leader"
    assert cluster.refusal(leader, LEADER, election.LeaderRequest(name=b"E")) == (Code.UNKNOWN, text)


def test_the_answer_names_the_key_its_creation_and_the_lease() -> None:
    cluster, leader, _ = elected()
    lease = cluster.grant(leader, 60)
    elected_ = campaign(cluster, leader, b"v", lease).answer.leader
    assert (elected_.name, elected_.key, elected_.lease) == (b"E", b"E/%x" % lease, lease)
    told = cluster.ask(leader, LEADER, election.LeaderRequest(name=b"E")).kv
    assert (told.key, told.create_revision) == (elected_.key, elected_.rev)


def test_who_leads_can_proclaim_something_else_and_nobody_else_can() -> None:
    cluster, leader, (follower, _) = elected()
    first, second = campaign(cluster, leader, b"one"), campaign(cluster, leader, b"two")
    cluster.ask(follower, PROCLAIM, election.ProclaimRequest(leader=first.answer.leader, value=b"news"))
    assert leader_of(cluster, leader) == b"news"
    resign(cluster, leader, first)
    request = election.ProclaimRequest(leader=first.answer.leader, value=b"late")
    assert cluster.refusal(leader, PROCLAIM, request) == NOT_LEADER
    assert second.over()
    assert leader_of(cluster, leader) == b"two"


def test_to_proclaim_or_to_resign_one_says_as_whom() -> None:
    cluster, leader, _ = elected()
    missing = (Code.INVALID_ARGUMENT, '"leader" field must be provided')
    assert cluster.refusal(leader, PROCLAIM, election.ProclaimRequest()) == missing
    assert cluster.refusal(leader, RESIGN, election.ResignRequest()) == missing


def test_who_resigned_earlier_takes_nothing_from_a_later_leader_of_the_same_lease() -> None:
    cluster, leader, _ = elected()
    lease = cluster.grant(leader, 60)
    first = campaign(cluster, leader, b"one", lease)
    resign(cluster, leader, first)
    campaign(cluster, leader, b"two", lease)
    resign(cluster, leader, first)
    assert leader_of(cluster, leader) == b"two"


def test_a_leader_whose_lease_ends_leads_no_longer() -> None:
    cluster, leader, (follower, _) = elected()
    first = campaign(cluster, leader, b"one", cluster.grant(leader, 3))
    second = campaign(cluster, follower, b"two")
    assert first.over()
    assert not second.over()
    cluster.run(seconds(4))
    assert second.over()
    assert leader_of(cluster, leader) == b"two"


def test_a_candidate_whose_lease_ended_while_it_waited_is_not_elected() -> None:
    cluster, leader, _ = elected()
    first = campaign(cluster, leader, b"one")
    lease = cluster.grant(leader, 60)
    second = campaign(cluster, leader, b"two", lease)
    cluster.ask(leader, REVOKE, rpc.LeaseRevokeRequest(ID=lease))
    resign(cluster, leader, first)
    cluster.run(200)
    assert second.status == NOT_LEADER


def test_a_candidate_that_gives_up_leaves_no_key_behind() -> None:
    cluster, leader, (follower, _) = elected()
    first = campaign(cluster, leader, b"one")
    quitter = campaign(cluster, follower, b"two")
    last = campaign(cluster, follower, b"three")
    quitter.cancel()
    cluster.run(100)
    assert len(cluster.get(leader, b"E/", b"E0")) == 2
    resign(cluster, leader, first)
    assert last.over()


def test_a_campaign_by_a_lease_that_leads_changes_what_it_proclaims() -> None:
    cluster, leader, _ = elected()
    lease = cluster.grant(leader, 60)
    first = campaign(cluster, leader, b"one", lease)
    again = campaign(cluster, leader, b"two", lease)
    assert again.answer.leader.rev == first.answer.leader.rev
    assert leader_of(cluster, leader) == b"two"


def test_an_observer_is_told_of_the_leader_of_what_it_proclaims_and_of_the_next_one() -> None:
    cluster, leader, (follower, _) = elected()
    early = observe(cluster, follower)
    assert seen(early) == []
    first = campaign(cluster, leader, b"one")
    late = observe(cluster, leader)
    second = campaign(cluster, leader, b"two")
    cluster.ask(leader, PROCLAIM, election.ProclaimRequest(leader=first.answer.leader, value=b"news"))
    cluster.run(100)
    resign(cluster, leader, first)
    assert seen(early) == seen(late) == [b"one", b"news", b"two"], "the next leader's key is older than the last news"
    resign(cluster, leader, second)
    campaign(cluster, leader, b"three")
    assert seen(early)[3:] == seen(late)[3:] == [b"three"]


def test_an_observer_is_told_over_a_change_of_the_clusters_leader() -> None:
    cluster, leader, (follower, other) = elected()
    first = campaign(cluster, follower, b"one")
    watching = observe(cluster, follower)
    cluster.crash(leader)
    cluster.run(3_000)
    cluster.ask(other, PROCLAIM, election.ProclaimRequest(leader=first.answer.leader, value=b"news"))
    cluster.run(200)
    assert watching.status is None
    assert seen(watching) == [b"one", b"news"]


def test_an_observer_that_does_not_read_is_told_of_the_present_leader_when_it_does() -> None:
    cluster, leader, _ = elected()
    lazy = observe(cluster, leader)
    lazy.reads = False
    first = campaign(cluster, leader, b"one")
    for number in range(30):
        value = b"%d" % number + bytes(100_000)
        cluster.ask(leader, PROCLAIM, election.ProclaimRequest(leader=first.answer.leader, value=value))
    assert lazy.most_unsent < 1_300_000
    lazy.read()
    lazy.read()
    assert seen(lazy)[-1].startswith(b"29\0")
    cluster.ask(leader, PROCLAIM, election.ProclaimRequest(leader=first.answer.leader, value=b"news"))
    lazy.read()
    assert seen(lazy)[-1] == b"news"
