"""The example bank keeps a bank's laws, behind the same host that every machine stands behind."""

from __future__ import annotations

from examples.bank import (
    MAX_AMOUNT,
    Bank,
    Receipt,
    balance,
    deposit,
    open_account,
    read_balance,
    read_receipt,
    total,
    transfer,
)
from hypothesis import given
from hypothesis import strategies as st
from tests.machine.machines import SECOND, A, entry, segment

from coterie.core.messages import Command, SessionOpen
from coterie.machine.host import Host
from coterie.machine.interface import Batch, Rejected
from coterie.machine.loading import load_machine, machine_name
from coterie.machine.sessions import session_id

NAMES = st.sampled_from(["alice", "bob", "carol"])
AMOUNTS = st.integers(-5, 100)
COMMANDS = st.one_of(
    st.builds(open_account, NAMES),
    st.builds(deposit, NAMES, AMOUNTS),
    st.builds(transfer, NAMES, NAMES, AMOUNTS),
    st.binary(max_size=10),
)


def run(bank: Bank, *commands: bytes) -> list[bytes | Rejected]:
    return list(bank.apply(Batch(1, 0, range(len(commands)), commands)))


def cents(bank: Bank, question: bytes) -> int | str:
    answer = bank.query(question)
    return answer.reason if isinstance(answer, Rejected) else read_balance(answer)


def test_money_moves_between_accounts() -> None:
    bank = Bank()
    replies = run(
        bank, open_account("alice"), open_account("bob"), deposit("alice", 500), transfer("alice", "bob", 200)
    )
    assert [read_receipt(r) for r in replies if isinstance(r, bytes)] == [
        Receipt("alice", 0),
        Receipt("bob", 0),
        Receipt("alice", 500),
        Receipt("alice", 300),
    ]
    assert (cents(bank, balance("alice")), cents(bank, balance("bob")), cents(bank, total())) == (300, 200, 500)


def test_no_is_said_with_a_reason_and_changes_nothing() -> None:
    bank = Bank()
    run(bank, open_account("alice"), deposit("alice", 100))
    before = bank.digest()
    refused = [
        open_account("alice"),
        open_account(""),
        deposit("bob", 1),
        deposit("alice", 0),
        deposit("alice", MAX_AMOUNT + 1),
        transfer("alice", "bob", 1),
        transfer("alice", "alice", 101),
        transfer("alice", "alice", -1),
        b"nonsense",
    ]
    assert all(isinstance(reply, Rejected) for reply in run(bank, *refused))
    assert bank.digest() == before
    assert cents(bank, balance("bob")) == "there is no account 'bob'"


@given(st.lists(COMMANDS, max_size=40))
def test_no_account_is_overdrawn_and_no_money_is_made(commands: list[bytes]) -> None:
    bank = Bank()
    paid_in = 0
    for command in commands:
        before = cents(bank, total())
        (reply,) = run(bank, command)
        after = cents(bank, total())
        assert isinstance(before, int)
        assert isinstance(after, int)
        if isinstance(reply, Rejected):
            assert after == before
        paid_in += after - before
        assert after >= before
        assert min(bank.accounts.values(), default=0) >= 0
    assert cents(bank, total()) == paid_in
    twin, replayed = Bank(), Bank()
    twin.restore(list(bank.snapshot()))
    run(replayed, *commands)
    assert twin.digest() == bank.digest() == replayed.digest()


def test_a_transfer_that_is_sent_twice_moves_the_money_once() -> None:
    host = Host(load_machine("examples.bank:Bank"))
    assert machine_name(host.machine) == "examples.bank:Bank"
    session = session_id(1, 0)
    commands = [open_account("alice"), open_account("bob"), deposit("alice", 500), transfer("alice", "bob", 200)]
    host.apply(entry(1, segment(1, SessionOpen(10 * SECOND))), A, 1)
    numbered = [Command(session, seq, 1, body) for seq, body in enumerate(commands, start=1)]
    (first,) = host.apply(entry(2, segment(2, *numbered)), A, 1)
    (again,) = host.apply(entry(3, segment(6, *numbered)), A, 1)
    assert list(first.results) == list(again.results)
    answer = host.query(balance("bob"))
    assert isinstance(answer, bytes)
    assert read_balance(answer) == 200
