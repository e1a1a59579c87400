"""What services ask of the engine: which requests are made, and who is told."""

from __future__ import annotations

from coterie.engine.protocol import Answer, Failure, FailureCode, Fence, Happened, ReadMode, Request, Submit
from coterie.etcd.requests import Requests, Then


def asking() -> tuple[Requests, list[list[Request]], list[tuple[str, Answer | Failure]]]:
    sent: list[list[Request]] = []
    return Requests(sent.append), sent, []


def fences(batch: list[Request]) -> list[Fence]:
    return [each for each in batch if isinstance(each, Fence)]


def answer_to(fence: Fence) -> Answer:
    return Answer(fence.id, 0, 0, b"")


def by(name: str, told: list[tuple[str, Answer | Failure]]) -> Then:
    return lambda answer: told.append((name, answer))


def test_reads_that_are_asked_for_before_the_flush_share_one_fence() -> None:
    requests, sent, told = asking()
    requests.fence(by("a", told))
    requests.submit(b"command", by("w", told))
    requests.fence(by("b", told))
    requests.fence(by("c", told))
    requests.flush()
    (batch,) = sent
    assert [type(each) for each in batch] == [Fence, Submit]
    assert [(each.mode, each.at_least) for each in fences(batch)] == [(ReadMode.LINEARIZABLE, 0)]
    answer = answer_to(fences(batch)[0])
    requests.deliver(answer)
    assert told == [("a", answer), ("b", answer), ("c", answer)]
    requests.deliver(answer)
    assert len(told) == 3
    assert len(requests) == 1


def test_a_read_never_shares_a_fence_that_was_sent_before_it_was_asked_for() -> None:
    requests, sent, told = asking()
    requests.fence(by("early", told))
    requests.flush()
    requests.fence(by("late", told))
    requests.flush()
    early, late = (fences(batch)[0] for batch in sent)
    requests.deliver(answer_to(early))
    assert [name for name, _ in told] == ["early"]
    requests.deliver(answer_to(late))
    assert [name for name, _ in told] == ["early", "late"]


def test_all_who_share_a_fence_are_told_that_it_failed() -> None:
    requests, sent, told = asking()
    requests.fence(by("a", told))
    requests.fence(by("b", told))
    requests.flush()
    failure = Failure(fences(sent[0])[0].id, FailureCode.NO_LEADER, Happened.NO, "nobody leads")
    requests.deliver(failure)
    assert told == [("a", failure), ("b", failure)]
