"""A transfer ends, whatever is lost on the way, and never sends more at once than its window."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from coterie.core.snapshot_transfer import SECOND, THROTTLE_BURST, Outgoing, Snapshot, Throttle
from coterie.core.types import Epoch, Membership, SnapshotMeta

META = SnapshotMeta(9, Epoch(2, 0), Membership((), ()))
PATIENCE = 100


def outgoing(size: int = 10, chunk: int = 3, window: int = 2) -> Outgoing:
    return Outgoing(Snapshot(META, size), chunk, window, PATIENCE)


def send(transfer: Outgoing, now: int = 0) -> list[tuple[int, int]]:
    """All that may be sent now."""
    pieces = []
    while (piece := transfer.next_piece()) is not None:
        pieces.append(piece)
        transfer.sent(now, piece[1])
    return pieces


def test_it_asks_first_and_goes_on_from_what_is_there() -> None:
    transfer = outgoing()
    assert send(transfer) == [(0, 0)]
    transfer.answered(1, 4)
    assert send(transfer) == [(4, 3), (7, 3)]
    transfer.answered(2, 7)
    assert send(transfer) == []
    transfer.answered(3, 10)
    assert transfer.acked == 10
    assert send(transfer) == []


def test_a_lost_chunk_is_sent_again_once_however_many_answers_tell_of_it() -> None:
    transfer = outgoing(size=30, window=3)
    send(transfer)
    transfer.answered(1, 0)
    assert send(transfer) == [(0, 3), (3, 3), (6, 3)]
    transfer.answered(2, 0)
    assert send(transfer) == [(0, 3), (3, 3), (6, 3)]
    transfer.answered(3, 0)
    assert send(transfer) == []
    transfer.answered(4, 3)
    assert send(transfer) == [(9, 3)]
    transfer.answered(5, 3)
    assert send(transfer) == [(3, 3), (6, 3), (9, 3)]


def test_silence_leads_to_the_question_again_and_a_follower_that_forgot_begins_anew() -> None:
    transfer = outgoing()
    send(transfer)
    transfer.answered(1, 6)
    send(transfer, now=5)
    assert transfer.deadline() == 5 + PATIENCE
    transfer.look(4 + PATIENCE)
    assert send(transfer) == []
    transfer.look(5 + PATIENCE)
    assert send(transfer, now=5 + PATIENCE) == [(6, 0)]
    transfer.answered(200, 0)
    assert send(transfer) == [(0, 3), (3, 3)]


def test_it_asks_after_the_installation_that_nobody_told_of() -> None:
    transfer = outgoing()
    send(transfer)
    transfer.answered(1, 10)
    assert transfer.deadline() == 1 + PATIENCE
    transfer.look(1 + PATIENCE)
    assert send(transfer) == [(10, 0)]


def test_answers_that_make_no_sense_are_ignored() -> None:
    transfer = outgoing()
    send(transfer)
    transfer.answered(1, 11)
    transfer.answered(1, -1)
    assert transfer.acked == 0
    assert transfer.deadline() == PATIENCE


def test_nothing_is_awaited_while_it_is_our_turn() -> None:
    transfer = outgoing()
    assert transfer.deadline() is None
    send(transfer)
    transfer.answered(1, 0)
    assert transfer.deadline() is None


@given(st.integers(1, 40), st.integers(1, 7), st.integers(1, 4), st.lists(st.integers(0, 5), max_size=150))
def test_it_ends_though_messages_and_answers_are_lost_doubled_and_late(
    size: int, chunk: int, window: int, chances: list[int]
) -> None:
    transfer = outgoing(size, chunk, window)
    held, now = 0, 0
    fates = iter(chances)
    answers: list[int] = []
    for _ in range(2000):
        now += 10
        transfer.look(now)
        pieces = send(transfer, now)
        assert sum(count for _, count in pieces) <= chunk * window
        for offset, count in pieces:
            fate = next(fates, 1)
            if fate == 0:
                continue
            if fate == 5:
                held = 0  # it crashed
            if count and offset == held:
                held += count
            answers.append(held)
            if fate == 2:
                answers.append(held)
        fate = next(fates, 1)
        if fate == 0:
            answers.clear()
        if fate == 3:
            answers.reverse()
        if answers and fate != 4:
            transfer.answered(now, answers.pop(0))
        if held == size and transfer.acked == size:
            return
    raise AssertionError(f"{held} of {size} bytes after {now} ns")


@given(st.integers(1, 1 << 30), st.lists(st.integers(1, 1 << 18), min_size=2, max_size=30))
def test_the_throttle_keeps_its_rate(rate: int, sizes: list[int]) -> None:
    throttle = Throttle(rate)
    now = start = 1000 * SECOND
    passed = 0
    for size in sizes:
        now = max(now, throttle.opens_at)
        if now > start:
            assert passed * SECOND <= rate * (now - start + THROTTLE_BURST + len(sizes))
        throttle.took(now, size)
        passed += size
