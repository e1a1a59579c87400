"""What the host promises, one example a test."""

from __future__ import annotations

import msgspec
import pytest
from tests.machine.machines import SECOND, A, B, Broken, Recorder, Scripted, entry, noop, plain, segment

from coterie.core.errors import CoterieError, Effect, SafetyViolation
from coterie.core.messages import Command, SessionClose, SessionKeep, SessionOpen
from coterie.core.settings import Settings
from coterie.core.types import Entry, EntryKind, Epoch, Member, Membership
from coterie.machine.host import SKIPPED, Done, Failed, FailedCode, Host, MachineFailed
from coterie.machine.interface import Rejected

LIMITS = Settings(max_sessions=3, max_session_replies=4, max_session_reply_bytes=1000, max_total_reply_bytes=2000)


class Log:
    """Feeds a host one entry after the other, as member A in its boot 1."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.number = 1

    def add(self, *commands: object, elapsed: int = 0) -> list[object]:
        """An entry with one segment of A's, numbered on; its results."""
        first = self.number
        self.number += len(commands)
        done = self.host.apply(
            entry(self.host.applied + 1, segment(first, *commands), elapsed=elapsed),  # type: ignore[arg-type]  # any command
            A,
            1,
        )
        assert [d.first for d in done] == [first]
        return list(done[0].results)

    def open(self, ttl: int = 10 * SECOND) -> int:
        (body,) = self.add(SessionOpen(ttl))
        assert type(body) is bytes
        return int(msgspec.msgpack.decode(body))

    def wait(self, elapsed: int) -> None:
        self.host.apply(noop(self.host.applied + 1, elapsed), A, 1)


@pytest.fixture
def machine() -> Recorder:
    return Recorder()


@pytest.fixture
def host(machine: Recorder) -> Host:
    return Host(machine, settings=LIMITS)


@pytest.fixture
def log(host: Host) -> Log:
    return Log(host)


def code(result: object) -> FailedCode:
    assert isinstance(result, Failed), result
    return result.code


def test_an_entry_reaches_the_machine_as_one_batch_named_by_index_and_ordinals(host: Host, machine: Recorder) -> None:
    done = host.apply(
        entry(1, segment(1, plain(b"x"), plain(b"no")), segment(7, plain(b"y"), origin=B), elapsed=5), A, 1
    )
    assert [(b.index, b.time, list(b.ordinals), list(b.commands)) for b in machine.batches] == [
        (1, 5, [0, 1, 2], [b"x", b"no", b"y"])
    ]
    assert list(done) == [Done(1, [b"1:x", Rejected("no")])]


@pytest.mark.parametrize(
    ("commands", "batches"),
    [(1, [1]), (39, [39]), (40, [14, 14, 12]), (64, [16, 16, 16, 16]), (300, [75, 75, 75, 75])],
)
@pytest.mark.parametrize("own", [A, B], ids=["own", "of another member"])
def test_a_crowd_is_applied_in_a_few_parts_that_are_the_same_at_all_members(
    host: Host, machine: Recorder, own: int, commands: int, batches: list[int]
) -> None:
    body = [plain(b"%d" % number) for number in range(commands)]
    host.apply(entry(1, segment(1, *body)), own, 1, lambda done: None)
    assert [len(batch.commands) for batch in machine.batches] == batches
    assert [ordinal for batch in machine.batches for ordinal in batch.ordinals] == list(range(commands))
    assert machine.ran == [b"%d" % number for number in range(commands)]


def test_what_stands_is_told_before_the_rest_is_applied(host: Host, machine: Recorder) -> None:
    """Three segments, the one in the middle another member's: parts end within segments."""
    told: list[tuple[Done, int]] = []
    bodies = [plain(b"%d" % number) for number in range(60)]
    crowd = entry(1, segment(1, *bodies[:20]), segment(5, *bodies[20:25], origin=B), segment(21, *bodies[25:]))
    left = host.apply(crowd, A, 1, lambda done: told.append((done, len(machine.ran))))
    assert [(done.first, len(done.results), ran) for done, ran in told] == [
        (1, 15, 15),
        (16, 5, 30),
        (21, 5, 30),
        (26, 15, 45),
        (41, 15, 60),
    ]
    assert left == []
    whole = Host(Recorder(), settings=LIMITS)
    (one, two) = whole.apply(crowd, A, 1)
    assert [result for done, _ in told for result in done.results] == [*one.results, *two.results]
    assert host.chain == whole.chain


def test_results_are_only_for_segments_of_this_member_in_this_boot(host: Host, machine: Recorder) -> None:
    done = host.apply(entry(1, segment(1, plain(b"x"), boot=1), segment(1, plain(b"y"), boot=2)), A, 2)
    assert list(done) == [Done(1, [b"2:y"])]
    assert machine.ran == [b"x", b"y"]


def test_other_kinds_of_entry_only_advance_index_epoch_and_time(host: Host, machine: Recorder) -> None:
    membership = Membership((Member(A, "a", "a:1", "a:2"),), (A,))
    payloads = {
        EntryKind.NOOP: b"",
        EntryKind.MEMBERSHIP: msgspec.msgpack.encode(membership),
        EntryKind.SETTINGS: msgspec.msgpack.encode(Settings(max_sessions=7)),
    }
    for index, (kind, payload) in enumerate(payloads.items(), start=1):
        assert host.apply(Entry(index, Epoch(index, 0), kind, 7, payload), A, 1) == ()
    assert (host.applied, host.applied_epoch, host.time, machine.batches) == (3, Epoch(3, 0), 21, [])
    assert (host.membership, host.settings) == (membership, Settings(max_sessions=7))


def test_settings_change_the_limits_of_sessions_at_their_entry(log: Log, host: Host) -> None:
    for _ in range(3):
        log.open()
    assert code(log.add(SessionOpen(SECOND))[0]) == FailedCode.SESSIONS_FULL
    payload = msgspec.msgpack.encode(msgspec.structs.replace(LIMITS, max_sessions=4))
    host.apply(Entry(host.applied + 1, Epoch(1, 0), EntryKind.SETTINGS, 0, payload), A, 1)
    log.open()
    assert code(log.add(SessionOpen(SECOND))[0]) == FailedCode.SESSIONS_FULL
    payload = msgspec.msgpack.encode(msgspec.structs.replace(LIMITS, max_sessions=1))
    host.apply(Entry(host.applied + 1, Epoch(1, 0), EntryKind.SETTINGS, 0, payload), A, 1)
    assert host.sessions == 4, "the living stay, whatever the new limit"
    twin = Host(Recorder())
    twin.restore(list(host.snapshot()))
    assert twin.digest() == host.digest()


@pytest.mark.parametrize("kind", [EntryKind.MEMBERSHIP, EntryKind.SETTINGS])
@pytest.mark.parametrize("payload", [b"anything", msgspec.msgpack.encode({"max_sessions": -1})])
def test_a_membership_or_settings_that_cannot_be_read_is_a_safety_violation(
    host: Host, kind: EntryKind, payload: bytes
) -> None:
    with pytest.raises(SafetyViolation, match="agreed on"):
        host.apply(Entry(1, Epoch(1, 0), kind, 0, payload), A, 1)


def test_the_chain_tells_apart_what_was_applied(host: Host) -> None:
    def chain(*commands: bytes, elapsed: int = 0, number: int = 1) -> bytes:
        other = Host(Recorder())
        other.apply(entry(1, segment(number, *(plain(c) for c in commands)), elapsed=elapsed), A, 1)
        return other.chain

    assert chain(b"x") == chain(b"x", number=5)
    chains = [host.chain, chain(), chain(b"x"), chain(b"y"), chain(b"no"), chain(b"x", elapsed=1), chain(b"x", b"y")]
    assert len(set(chains)) == len(chains)


def test_the_chain_tells_apart_which_of_two_commands_got_what() -> None:
    def chain(*replies: bytes) -> bytes:
        host = Host(Scripted(replies))
        host.apply(entry(1, segment(1, *(plain(b"pop") for _ in replies))), A, 1)
        return host.chain

    assert chain(b"item", b"") != chain(b"", b"item")


def test_a_forward_that_comes_twice_runs_once(host: Host, machine: Recorder) -> None:
    twice = segment(1, plain(b"x"), plain(b"y"))
    host.apply(entry(1, twice), A, 1)
    (done,) = host.apply(entry(2, twice), A, 1)
    assert list(done.results) == [SKIPPED, SKIPPED]
    assert machine.ran == [b"x", b"y"]


def test_the_new_part_of_an_overlapping_forward_runs(host: Host, machine: Recorder) -> None:
    host.apply(entry(1, segment(1, plain(b"x"), plain(b"y"))), A, 1)
    (done,) = host.apply(entry(2, segment(2, plain(b"y"), plain(b"z"))), A, 1)
    assert list(done.results) == [SKIPPED, b"3:z"]
    assert machine.batches[-1].ordinals == [1]


def test_a_forward_that_was_overtaken_never_runs(host: Host, machine: Recorder) -> None:
    host.apply(entry(1, segment(5, plain(b"later"))), A, 1)
    (done,) = host.apply(entry(2, segment(4, plain(b"earlier"))), A, 1)
    assert list(done.results) == [SKIPPED]
    assert machine.ran == [b"later"]


def test_a_forward_of_an_older_boot_never_runs_and_a_newer_boot_counts_anew(host: Host, machine: Recorder) -> None:
    host.apply(entry(1, segment(9, plain(b"x"), boot=1)), A, 2)
    host.apply(entry(2, segment(1, plain(b"y"), boot=2)), A, 2)
    host.apply(entry(3, segment(10, plain(b"late"), boot=1)), A, 2)
    assert machine.ran == [b"x", b"y"]


def test_origins_are_counted_apart(host: Host, machine: Recorder) -> None:
    host.apply(entry(1, segment(3, plain(b"x"), origin=A), segment(1, plain(b"y"), origin=B)), A, 1)
    assert machine.ran == [b"x", b"y"]


def test_a_session_id_comes_from_its_place_in_the_log(log: Log) -> None:
    log.add(plain(b"x"))
    _, first, second = log.add(plain(b"y"), SessionOpen(SECOND), SessionOpen(SECOND))
    assert [first, second] == [msgspec.msgpack.encode(2 << 20 | 2), msgspec.msgpack.encode(2 << 20 | 3)]


def test_a_retry_gets_the_same_reply_and_does_not_run(log: Log, machine: Recorder) -> None:
    session = log.open()
    first = log.add(Command(session, 1, 1, b"x"))
    again = log.add(Command(session, 1, 1, b"x"))
    assert first == again == [b"1:x"]
    assert machine.ran == [b"x"]


def test_a_retry_inside_one_entry_gets_the_first_ones_reply(log: Log, machine: Recorder) -> None:
    session = log.open()
    results = log.add(Command(session, 1, 1, b"x"), plain(b"between"), Command(session, 1, 1, b"x"), plain(b"after"))
    assert results == [b"1:x", b"2:between", b"1:x", b"3:after"]
    assert [list(b.ordinals) for b in machine.batches] == [[0, 1], [3]]


def test_a_rejection_is_kept_like_any_reply(log: Log, machine: Recorder) -> None:
    session = log.open()
    assert log.add(Command(session, 1, 1, b"no")) == [Rejected("no")]
    assert log.add(Command(session, 1, 1, b"no")) == [Rejected("no")]
    assert len(machine.batches) == 1


def test_commands_of_one_session_may_arrive_in_any_order(log: Log, machine: Recorder) -> None:
    session = log.open()
    assert log.add(Command(session, 3, 1, b"c"), Command(session, 1, 1, b"a")) == [b"1:c", b"2:a"]
    assert log.add(Command(session, 2, 1, b"b"), Command(session, 3, 1, b"c")) == [b"3:b", b"1:c"]


def test_below_the_floor_the_reply_is_forgotten_and_nothing_runs(log: Log, machine: Recorder) -> None:
    session = log.open()
    log.add(Command(session, 1, 1, b"a"), Command(session, 2, 2, b"b"))
    (result,) = log.add(Command(session, 1, 1, b"a"))
    assert code(result) == FailedCode.REPLY_FORGOTTEN
    assert isinstance(result, Failed)
    assert result.happened is True
    assert machine.ran == [b"a", b"b"]


def test_the_floor_never_goes_back(log: Log) -> None:
    session = log.open()
    log.add(SessionKeep(session, 5))
    log.add(SessionKeep(session, 2))
    assert code(log.add(Command(session, 4, 1, b"x"))[0]) == FailedCode.REPLY_FORGOTTEN


def test_a_floor_above_the_commands_own_number_is_lowered_to_it(log: Log, machine: Recorder) -> None:
    session = log.open()
    assert log.add(Command(session, 1, 2**60, b"x")) == [b"1:x"]
    assert log.add(Command(session, 1, 2**60, b"x")) == [b"1:x"]
    assert log.add(Command(session, 2, 2**60, b"y")) == [b"2:y"]


@pytest.mark.parametrize("seq", [0, -3])
def test_a_number_below_1_is_refused(log: Log, machine: Recorder, seq: int) -> None:
    session = log.open()
    assert code(log.add(Command(session, seq, 0, b"x"))[0]) == FailedCode.REJECTED
    assert machine.ran == []


@pytest.mark.parametrize("session", [1, -1, 2**63])
def test_a_command_of_an_unknown_session_is_never_run_as_new(log: Log, machine: Recorder, session: int) -> None:
    (result,) = log.add(Command(session, 1, 1, b"x"))
    assert code(result) == FailedCode.SESSION_EXPIRED
    assert isinstance(result, Failed)
    assert result.happened is None
    assert code(log.add(SessionKeep(session, 1))[0]) == FailedCode.SESSION_EXPIRED
    assert machine.ran == []


def test_a_session_expires_exactly_when_cluster_time_reaches_its_deadline(log: Log, host: Host) -> None:
    session = log.open(10 * SECOND)
    assert host.next_timer() == 10 * SECOND
    log.wait(10 * SECOND - 1)
    assert host.sessions == 1
    log.wait(1)
    assert host.sessions == 0
    assert host.next_timer() is None
    assert code(log.add(Command(session, 1, 1, b"x"))[0]) == FailedCode.SESSION_EXPIRED


def test_expiry_comes_before_the_commands_of_its_entry(log: Log, machine: Recorder) -> None:
    session = log.open(SECOND)
    (result,) = log.add(Command(session, 1, 1, b"too late"), elapsed=SECOND)
    assert code(result) == FailedCode.SESSION_EXPIRED
    assert machine.ran == []


@pytest.mark.parametrize("again", [Command(0, 1, 1, b"x"), Command(0, 0, 0, b"refused"), SessionKeep(0, 1)])
def test_any_command_of_a_session_extends_its_life(log: Log, host: Host, again: Command | SessionKeep) -> None:
    session = log.open(10 * SECOND)
    log.wait(6 * SECOND)
    log.add(msgspec.structs.replace(again, session=session))
    assert host.next_timer() == 16 * SECOND
    log.wait(9 * SECOND)
    assert host.sessions == 1
    log.wait(1 * SECOND)
    assert host.sessions == 0


def test_a_full_table_refuses_a_new_session_and_keeps_the_living(log: Log, host: Host) -> None:
    sessions = [log.open() for _ in range(3)]
    (result,) = log.add(SessionOpen(SECOND))
    assert code(result) == FailedCode.SESSIONS_FULL
    assert all(log.add(SessionKeep(s, 1)) == [b""] for s in sessions)
    log.add(SessionClose(sessions[0]))
    assert log.open() > sessions[-1]


@pytest.mark.parametrize("ttl", [-1, 0, SECOND // 10 - 1, 24 * 3600 * SECOND + 1])
def test_a_ttl_out_of_bounds_is_refused(log: Log, host: Host, ttl: int) -> None:
    (result,) = log.add(SessionOpen(ttl))
    assert code(result) == FailedCode.REJECTED
    assert host.sessions == 0


def test_a_session_that_keeps_too_many_replies_gets_no_further_one_until_it_acknowledges(
    log: Log, machine: Recorder
) -> None:
    session = log.open()
    results = log.add(*(Command(session, seq, 1, b"x") for seq in range(1, 6)))
    assert code(results[4]) == FailedCode.OVERLOADED
    assert len(machine.ran) == 4
    assert log.add(Command(session, 1, 1, b"x")) == [b"1:x"], "a retry needs no room"
    assert log.add(Command(session, 5, 3, b"y")) == [b"5:y"]


def test_a_session_that_keeps_too_many_bytes_gets_no_further_reply(log: Log, machine: Recorder) -> None:
    session = log.open()
    log.add(Command(session, 1, 1, b"x" * 1000))
    assert code(log.add(Command(session, 2, 1, b"y"))[0]) == FailedCode.OVERLOADED
    assert log.add(Command(session, 2, 2, b"y")) == [b"2:y"]


def test_all_sessions_together_keep_a_bounded_number_of_bytes(log: Log) -> None:
    first, second, third = log.open(), log.open(), log.open()
    log.add(Command(first, 1, 1, b"x" * 1000))
    log.add(Command(second, 1, 1, b"x" * 1000))
    assert code(log.add(Command(third, 1, 1, b"x"))[0]) == FailedCode.OVERLOADED
    log.add(SessionClose(first))
    assert log.add(Command(third, 1, 1, b"x")) == [b"3:x"]


def test_closing_takes_effect_between_the_commands_of_one_entry(log: Log, machine: Recorder) -> None:
    session = log.open()
    results = log.add(
        Command(session, 1, 1, b"before"),
        SessionClose(session),
        Command(session, 2, 1, b"after"),
        SessionClose(session),
    )
    assert results[:2] == [b"1:before", b""]
    assert code(results[2]) == FailedCode.SESSION_EXPIRED
    assert results[3] == b"", "closing twice is no error"
    assert machine.ran == [b"before"]


def test_the_bytes_of_a_session_that_acknowledges_and_closes_in_one_entry_are_freed_once(log: Log, host: Host) -> None:
    session, other = log.open(), log.open()
    log.add(Command(session, 1, 1, b"first"), Command(other, 1, 1, b"x"))
    log.add(Command(session, 2, 2, b"second"), SessionClose(session))
    assert host.kept_reply_bytes == len(b"2:x")


@pytest.mark.parametrize(
    ("way", "text"), [("raises", "ZeroDivisionError: boom"), ("too few", "0 replies to 2"), ("type", "bytearray")]
)
def test_a_machine_that_breaks_its_contract_is_fatal_and_named(way: str, text: str) -> None:
    host = Host(Broken(way))
    with pytest.raises(MachineFailed) as caught:
        host.apply(entry(1, segment(1, SessionOpen(SECOND), plain(b"the body"), plain(b"z"))), A, 1)
    message = str(caught.value)
    for part in ("machines:Broken", "entry 1", "commands 1 to 2", "the body", text):
        assert part in message
    assert caught.value.effect == Effect.UNKNOWN
    assert caught.value.advice


def test_a_question_that_makes_the_machine_raise_harms_only_the_asker(host: Host) -> None:
    answer = host.query(b"raise")
    assert isinstance(answer, Rejected)
    assert "KeyError" in answer.reason
    assert host.query(b"count") == b"0"


def test_an_entry_out_of_turn_or_unreadable_is_a_safety_violation(host: Host) -> None:
    host.apply(noop(1), A, 1)
    with pytest.raises(SafetyViolation):
        host.apply(noop(1), A, 1)
    with pytest.raises(SafetyViolation):
        host.apply(noop(3), A, 1)
    with pytest.raises(SafetyViolation):
        host.apply(noop(2, elapsed=-1), A, 1)
    with pytest.raises(SafetyViolation):
        Host(Recorder()).apply(Entry(1, Epoch(1, 0), EntryKind.COMMANDS, 0, b"\xc1"), A, 1)


def test_a_snapshot_carries_sessions_origins_and_time(log: Log, host: Host) -> None:
    session = log.open(10 * SECOND)
    log.add(Command(session, 1, 1, b"x"), Command(session, 2, 1, b"no"), elapsed=SECOND)
    twin = Host(Recorder(), settings=LIMITS)
    twin.restore(list(host.snapshot()))
    assert twin.digest() == host.digest()
    assert (twin.applied, twin.time, twin.next_timer()) == (2, SECOND, 11 * SECOND)
    (done,) = twin.apply(
        entry(3, segment(3, plain(b"skipped"), Command(session, 1, 1, b"x"), Command(session, 2, 1, b"no"))), A, 1
    )
    assert list(done.results) == [SKIPPED, b"1:x", Rejected("no")]


def test_a_cut_or_foreign_snapshot_is_refused(log: Log, host: Host) -> None:
    log.add(plain(b"x"), plain(b"y"))
    whole = b"".join(host.snapshot())
    for cut in range(len(whole)):
        with pytest.raises(ValueError, match="snapshot"):
            Host(Recorder(), settings=LIMITS).restore([whole[:cut]])


def test_an_entry_applied_in_the_middle_of_a_snapshot_spoils_it(log: Log, host: Host) -> None:
    log.add(*(plain(b"x" * 600_000) for _ in range(4)))
    chunks = host.snapshot()
    next(chunks)
    log.add(plain(b"y"))
    with pytest.raises(CoterieError, match="snapshot"):
        list(chunks)
