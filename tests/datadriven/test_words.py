"""Conversations show every message of every protocol, short enough to be read."""

from __future__ import annotations

import msgspec
import pytest
from tests.datadriven.conversation import Conversation
from tests.datadriven.words import epoch_of, epoch_word, message_words, record_words

from coterie.core.messages import Accept, Accepted, Canvass, CanvassReply, Message, Nack, Prepare, Promise
from coterie.core.records import SaveHardState
from coterie.core.types import NOBODY, Entry, EntryKind, Epoch, HardState

BALLOT = Epoch(4, 1)
OLD = Epoch(3, 2)
ENTRY = Entry(5, OLD, EntryKind.COMMANDS, 0, b"pear")


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (Canvass(4, 2), "Canvass round=4 commit=2"),
        (CanvassReply(OLD, 4, True), "CanvassReply epoch=3.n2 asked=4 granted"),
        (CanvassReply(OLD, 4, False), "CanvassReply epoch=3.n2 asked=4 refused"),
        (Prepare(BALLOT, 3, (), 2), "Prepare epoch=4.n1 first=3"),
        (
            Prepare(BALLOT, 3, ((3, Epoch(1, 1)), (6, OLD)), 6, True),
            "Prepare epoch=4.n1 first=3 holds 3..5@1.n1 6@3.n2 transfer",
        ),
        (Promise(BALLOT, 3, (), 4, 4, 2), "Promise epoch=4.n1 first=3 through=4 last=4 commit=2"),
        (Promise(BALLOT, 5, (ENTRY,), 5, 9, 2), "Promise epoch=4.n1 first=5 through=5 last=9 commit=2 [5@3.n2:pear]"),
        (Accept(BALLOT, 4, (ENTRY,), 2, 7, 1, 1), "Accept epoch=4.n1 prev=4 commit=2 round=7 [5@3.n2:pear]"),
        (Accept(BALLOT, 4, (), 2, 7, 1, 1), "Accept epoch=4.n1 prev=4 commit=2 round=7"),
        (Accepted(BALLOT, True, 5, 0, 7, 1), "Accepted epoch=4.n1 accepted=5 round=7"),
        (Accepted(BALLOT, False, 4, 2, 7, 1), "Accepted epoch=4.n1 gap=4 vouched=2 round=7"),
        (Nack(OLD), "Nack epoch=3.n2"),
    ],
)
def test_a_message_of_multi_paxos_reads_in_short(message: Message, words: str) -> None:
    assert message_words(1, 2, message) == f"n1 -> n2 {words}"


def test_messages_are_chosen_by_type_and_fields() -> None:
    conversation = Conversation("raft")
    prepare = (1, 2, Prepare(BALLOT, 3, (), 2))
    assert conversation.matches(prepare, {"type": "Prepare", "epoch": "4.n1", "from": "n1", "first": "3"})
    assert not conversation.matches(prepare, {"type": "Prepare", "epoch": "4.n2"})
    assert not conversation.matches(prepare, {"type": "Promise"})


def test_ballots_stand_on_a_disk_as_they_are_written() -> None:
    conversation = Conversation("raft")
    conversation.run("cluster 3")
    disk = conversation.seats[1].disk
    conversation.run("log n1 3.n2:x 2.n1:y epoch=4.n1")
    assert conversation.run("disk n1") == ["n1 disk: epoch=4.n1 | 1@0:membership 2@3.n2:x 3@2.n1:y"]
    conversation.run("log n1 3.n2:x 2.n1:y")
    assert disk.hard_state.epoch == OLD, "the highest ballot on the disk, though a lower one was written after it"
    assert [epoch_of(epoch_word(epoch)) for epoch in (BALLOT, Epoch(7, 0))] == [BALLOT, Epoch(7, 0)]


def test_a_promise_on_disk_names_no_vote() -> None:
    assert record_words(SaveHardState(HardState(BALLOT, NOBODY))) == "epoch 4.n1"
    assert record_words(SaveHardState(HardState(Epoch(4, 0), 2))) == "epoch 4 vote n2"


def test_a_slot_is_overwritten_in_its_place_by_a_higher_ballot_alone() -> None:
    conversation = Conversation("raft")
    conversation.run("cluster 3")
    conversation.run("log n1 1.n2:x 1.n2:y")
    disk = conversation.seats[1].disk
    disk._put(Entry(2, BALLOT, EntryKind.COMMANDS, 0, b"z"))
    assert [entry.payload for entry in disk.entries[1:]] == [b"z", b"y"]
    with pytest.raises(AssertionError, match="higher epoch"):
        disk._put(msgspec.structs.replace(disk.entries[1], epoch=OLD))
