"""Every scenario ends as it should, in either protocol and whatever the delays."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import msgspec
import pytest

from coterie.core.errors import ConfigurationError
from coterie.core.protocols import PROTOCOLS
from coterie.lab.recording import CLIENT, Event, Kind, Recording
from coterie.lab.scenarios import DEFAULT_SEED, SCENARIOS, play

SEEDS = (*range(1, 13), DEFAULT_SEED)
EVERY_ONE = [(scenario, protocol) for scenario in SCENARIOS for protocol in PROTOCOLS]


@cache
def recordings(scenario: str, protocol: str) -> list[Recording]:
    return [play(scenario, protocol, seed) for seed in SEEDS]


def marks(recording: Recording, kind: Kind, who: str = "") -> list[Event]:
    return [event for event in recording.marks() if event.kind is kind and who in ("", event.source)]


def sent(recording: Recording, *types: str, source: str = "") -> list[Event]:
    messages = [arrow.sent for arrow in recording.arrows()]
    return [event for event in messages if event.type in types and source in ("", event.source)]


def answers(recording: Recording) -> list[str]:
    """What the client has heard."""
    return [event.text for event in recording.events if event.kind is Kind.RECEIVED and event.to == CLIENT]


def leaders(recording: Recording) -> list[str]:
    return [event.source for event in marks(recording, Kind.ROLE) if event.text.startswith("leads")]


def durable_before(recording: Recording, message: Event, words: str) -> bool:
    """Whether the sender's disk had finished a write of these words when the message left."""
    at = recording.events.index(message)
    return any(e.kind is Kind.DURABLE and e.source == message.source and words in e.text for e in recording.events[:at])


@pytest.mark.parametrize(("scenario", "protocol"), EVERY_ONE)
def test_the_same_seed_is_the_same_run_and_another_seed_another(scenario: str, protocol: str) -> None:
    once, again = (msgspec.json.encode(play(scenario, protocol, 5)) for _ in range(2))
    assert once == again
    assert once != msgspec.json.encode(play(scenario, protocol, 6))


@pytest.mark.parametrize(("scenario", "protocol"), EVERY_ONE)
def test_time_runs_forward_and_every_message_comes_to_an_end(scenario: str, protocol: str) -> None:
    for recording in recordings(scenario, protocol):
        times = [event.at_ms for event in recording.events]
        assert times == sorted(times)
        assert times[0] >= 0
        arrows = list(recording.arrows())
        ends = [event for event in recording.events if event.kind in (Kind.RECEIVED, Kind.LOST)]
        assert len(arrows) == len(ends)
        for arrow in arrows:
            assert arrow.came.at_ms > arrow.sent.at_ms
            assert {arrow.sent.source, arrow.sent.to} <= set(recording.lifelines)


@pytest.mark.parametrize(("scenario", "protocol"), EVERY_ONE)
def test_what_waits_for_the_disk_leaves_only_when_its_mark_is_durable(scenario: str, protocol: str) -> None:
    waited = 0
    for recording in recordings(scenario, protocol):
        stored = dict.fromkeys(recording.lifelines, 0)
        for event in recording.events:
            if event.kind is Kind.RESTART:
                stored[event.source] = 0
            elif event.kind is Kind.DURABLE:
                assert event.began_ms is not None
                assert event.began_ms < event.at_ms
                stored[event.source] = event.mark
            elif event.kind is Kind.SENT and event.mark:
                waited += 1
                assert stored[event.source] >= event.mark, event
    assert waited or scenario == "read"


@pytest.mark.parametrize("scenario", ["election", "failover", "partition"])
def test_a_promise_and_a_vote_are_on_disk_before_they_are_given(scenario: str) -> None:
    seen = 0
    for recording in recordings(scenario, "multipaxos"):
        for message in sent(recording, "Promise", "Prepare"):
            ballot = message.text.partition("(")[2].partition(")")[0]
            assert durable_before(recording, message, f"ballot {ballot}"), message
            seen += 1
    for recording in recordings(scenario, "raft"):
        for message in sent(recording, "VoteReply", "RequestVote"):
            if message.text.endswith("no"):
                continue
            term = message.text.partition("term ")[2].split(",")[0].split(":")[0]
            who = message.to if message.type == "VoteReply" else message.source
            assert durable_before(recording, message, f"term {term}, vote {who}"), message
            seen += 1
    assert seen


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_election_has_one_leader_and_the_write_is_answered(protocol: str) -> None:
    for recording in recordings("election", protocol):
        assert len(leaders(recording)) == 1
        assert answers(recording) == ["put x=1: done"]
        assert {event.source for event in marks(recording, Kind.COMMIT)} == {"n1", "n2", "n3"}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_write_is_committed_by_a_quorum_of_disks_and_the_second_does_not_wait_for_the_first(protocol: str) -> None:
    for recording in recordings("write", protocol):
        assert answers(recording) == ["put x=1: done", "put y=2: done"]
        for entry, index in (("3:x=1", 3), ("4:y=2", 4)):
            commit = next(e for e in marks(recording, Kind.COMMIT, "n1") if e.text == f"commits to {index}")
            written = [e for e in marks(recording, Kind.DURABLE) if entry in e.text and e.at_ms <= commit.at_ms]
            assert len({event.source for event in written}) >= 2
        second = next(e for e in sent(recording, "Append", "Accept") if "4:y=2" in e.text)
        assert second.at_ms < marks(recording, Kind.COMMIT, "n1")[0].at_ms


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_read_at_a_follower_is_answered_after_a_round_and_without_a_write(protocol: str) -> None:
    for recording in recordings("read", protocol):
        assert answers(recording) == ["x is 1"]
        assert not marks(recording, Kind.DURABLE)
        (reply,) = sent(recording, "ReadIndexReply")
        rounds = sent(recording, "Append", "Accept", source="n1")
        # Two of three know that n1 leads: it itself, and one whose answer came in between.
        back = [a.came for a in recording.arrows() if a.sent.type in ("AppendReply", "Accepted")]
        assert any(rounds[0].at_ms < came.at_ms <= reply.at_ms for came in back)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_failover_keeps_the_value(protocol: str) -> None:
    for recording in recordings("failover", protocol):
        (leader,) = leaders(recording)
        # n1 never heard that the entry is on a majority's disks; it is committed all the same, in its place.
        assert not marks(recording, Kind.COMMIT, "n1")
        for who in ("n2", "n3"):
            assert any("3:x=1" in event.text for event in marks(recording, Kind.DURABLE, who)), recording.seed
            assert marks(recording, Kind.COMMIT, who)[-1].text == "commits to 4"
        if protocol == "raft":
            # n3 was first, but may not lead as long as it lacks the entry (5.4.1).
            assert any(e.text == "PreVote: no" and e.to == "n3" for e in sent(recording, "PreVoteReply"))
        else:
            assert leader == "n3"
            assert any("3@1.n1:x=1" in event.text for event in sent(recording, "Promise", source="n2"))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_repair_brings_the_logs_together_each_protocol_in_its_way(protocol: str) -> None:
    for recording in recordings("repair", protocol):
        before, after = ([e.text for e in marks(recording, Kind.NOTE)][part] for part in (slice(3), slice(3, 6)))
        assert "a=1" in before[0]
        assert before[0] != before[1]
        assert len(set(after)) == 1
        assert "a=1" not in after[0]
        assert "x=2" in after[0]
        assert "y=2" in after[0]
        truncated = [event for event in marks(recording, Kind.DURABLE, "n1") if "truncate" in event.text]
        assert bool(truncated) is (protocol == "raft")
        assert answers(recording) == ["put y=2: done"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_partition_ends_with_a_leader_and_nothing_is_lost(protocol: str) -> None:
    for recording in recordings("partition", protocol):
        assert leaders(recording)
        assert leaders(recording)[-1] != "n1"
        assert any("x=1" in event.text for event in marks(recording, Kind.DURABLE, "n2"))
        for who in ("n2", "n3", "n4"):
            assert marks(recording, Kind.COMMIT, who)


def test_partition_in_paxos_is_led_by_the_one_that_reaches_a_majority() -> None:
    recording = play("partition", "multipaxos")
    assert leaders(recording) == ["n2"]
    assert not marks(recording, Kind.HEAL)
    assert any("x=1" in event.text for event in sent(recording, "Promise"))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_membership_needs_both_majorities_and_who_left_is_told(protocol: str) -> None:
    for recording in recordings("membership", protocol):
        assert answers(recording)[-1] == "replace n3 by n4: done"
        commit = next(e for e in marks(recording, Kind.COMMIT, "n1") if e.text == "commits to 4")
        heard = {
            arrow.sent.source
            for arrow in recording.arrows()
            if arrow.sent.type in ("AppendReply", "Accepted") and arrow.came.at_ms <= commit.at_ms
        } | {"n1"}
        assert len(heard & {"n1", "n2", "n3"}) >= 2
        assert len(heard & {"n1", "n2", "n4"}) >= 2
        words = [event.text for event in marks(recording, Kind.MEMBERSHIP, "n1")]
        assert words == ["counts by n1 n2 n4 and n1 n2 n3", "counts by n1 n2 n4"]
        assert marks(recording, Kind.ROLE, "n3")[-1].text == "is removed"


@pytest.mark.parametrize(
    "wrong", [lambda: play("failovr", "raft"), lambda: play("failover", "paxos")], ids=["scenario", "protocol"]
)
def test_what_is_not_there_is_refused_with_what_is(wrong: Callable[[], Recording]) -> None:
    with pytest.raises(ConfigurationError, match=r"failover|multipaxos"):
        wrong()
