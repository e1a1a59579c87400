"""Commands of clients on their way: who is answered when a part of a segment was applied."""

from __future__ import annotations

import pytest
from tests.engine.test_full_disk import Alone

from coterie.core.config import MILLISECOND
from coterie.core.messages import Command
from coterie.engine.config import EngineConfig
from coterie.engine.protocol import Answer, Failure, FailureCode, Happened, Response
from coterie.engine.submissions import Pending, Submissions
from coterie.machine.outcomes import SKIPPED, Done


class Counter(Alone):
    """Ports that keep the answers."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[tuple[object, list[Response]]] = []

    def reply(self, client: object, *responses: Response) -> None:
        self.answers.append((client, list(responses)))


@pytest.fixture
def ports() -> Counter:
    return Counter()


@pytest.fixture
def submissions(ports: Counter) -> Submissions:
    return Submissions(own=1, boot=1, ports=ports, timeout=5000 * MILLISECOND)


def take(submissions: Submissions, *askers: tuple[str, list[int]]) -> Pending:
    for client, ids in askers:
        submissions.add(client, ids, [Command(0, 0, 0, b"x")] * len(ids), len(ids))
    (pending,) = submissions.form(0, EngineConfig())
    return pending


def answered(ports: Counter) -> list[tuple[object, list[tuple[int, bytes]]]]:
    found = []
    for client, responses in ports.answers:
        answers = []
        for response in responses:
            assert isinstance(response, Answer)
            answers.append((response.id, response.body))
        found.append((client, answers))
    return found


def test_parts_answer_those_whose_commands_they_hold(submissions: Submissions, ports: Counter) -> None:
    pending = take(submissions, ("ann", [1, 2, 3]), ("bob", [1]), ("cid", [7, 8]))
    submissions.applied(Done(1, [b"a", b"b"]), 10)
    assert answered(ports) == [("ann", [(1, b"a"), (2, b"b")])]
    assert submissions.count == 4
    assert submissions.find(1) is pending
    submissions.applied(Done(3, [b"c", b"d"]), 11)
    assert answered(ports)[1:] == [("ann", [(3, b"c")]), ("bob", [(1, b"d")])]
    submissions.applied(Done(5, [b"e", b"f"]), 12)
    assert answered(ports)[3:] == [("cid", [(7, b"e"), (8, b"f")])]
    assert submissions.count == 0
    assert submissions.find(1) is None


def test_a_copy_of_a_segment_that_was_applied_answers_nobody(submissions: Submissions, ports: Counter) -> None:
    take(submissions, ("ann", [1, 2]))
    take(submissions, ("bob", [1]))
    submissions.applied(Done(1, [b"a", b"b"]), 10)
    submissions.applied(Done(1, [SKIPPED, SKIPPED]), 10)
    assert answered(ports) == [("ann", [(1, b"a"), (2, b"b")])]
    submissions.applied(Done(3, [b"c"]), 11)
    assert answered(ports)[1:] == [("bob", [(1, b"c")])]


def test_what_stands_before_an_applied_one_is_lost(submissions: Submissions, ports: Counter) -> None:
    take(submissions, ("ann", [1, 2]))
    take(submissions, ("bob", [1]))
    submissions.applied(Done(3, [b"c"]), 11)
    (lost, (client, _)) = ports.answers
    assert lost[0] == "ann"
    assert [(r.code, r.happened) for r in lost[1] if isinstance(r, Failure)] == [
        (FailureCode.LEADER_LOST, Happened.NO)
    ] * 2
    assert client == "bob"
    assert submissions.count == 0
