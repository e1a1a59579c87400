"""A bank, replicated: a complete state machine of one's own. Copy it and change it.

Accounts are opened, filled, and money moves between them; no account is ever overdrawn and no
money is ever lost or made, whichever member crashes and however often a client tries again.

Run it as a cluster of processes on this machine, from the directory that holds `examples/`:

    coterie up --machine examples.bank:Bank

or inside your own process, as `main` below does with three members at once:

    python examples/bank.py

The rules for a machine are short (see `coterie.StateMachine`): it is a function of its commands.
No clock, no randomness, no iteration over a set, nothing from outside; a bad command is answered
with `Rejected`, never with an exception.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeAlias

import msgspec

from coterie import Batch, Node, NodeConfiguration, Rejected, RequestFailed, StateMachine

MAX_NAME_CHARACTERS = 64
MAX_ACCOUNTS = 1_000_000
MAX_AMOUNT = 10**15
"""Cents in one movement."""
ACCOUNTS_PER_CHUNK = 1000
"""Keeps a snapshot's chunks far below the limit of 1 MiB."""


# The commands: what changes the bank. Amounts are whole cents. Unknown fields are forbidden, so
# that every member, whatever its version of this file's libraries, reads the same bytes alike.


class Open(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="open"):
    """Open an account, empty."""

    account: str


class Deposit(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="deposit"):
    """Pay money in."""

    account: str
    cents: int


class Transfer(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="transfer"):
    """Move money from one account to another, if it is there."""

    source: str
    target: str
    cents: int


Command: TypeAlias = Open | Deposit | Transfer


class Receipt(msgspec.Struct, frozen=True, array_like=True):
    """The reply to a command: what the (source) account holds afterwards."""

    account: str
    balance: int


# The questions: what changes nothing.


class Balance(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="balance"):
    """How much does the account hold?"""

    account: str


class Total(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="total"):
    """How much do all accounts hold together?"""


Question: TypeAlias = Balance | Total


# The machine.


class Bank(StateMachine):
    """The state is one dict, from account to cents."""

    def __init__(self) -> None:
        self.accounts: dict[str, int] = {}

    def apply(self, batch: Batch) -> Sequence[bytes | Rejected]:
        """Apply the commands in order; one reply for each."""
        return [self._apply_one(command) for command in batch.commands]

    def _apply_one(self, data: bytes) -> bytes | Rejected:
        try:
            command = _command_decoder.decode(data)
        except ValueError as error:  # anybody can send anything: that must not stop a node
            return Rejected(f"not a command of the bank: {error}")
        match command:
            case Open(account):
                return self._open(account)
            case Deposit(account, cents):
                return self._deposit(account, cents)
            case Transfer(source, target, cents):
                return self._transfer(source, target, cents)

    def _open(self, account: str) -> bytes | Rejected:
        if not 1 <= len(account) <= MAX_NAME_CHARACTERS:
            return Rejected(f"an account's name has 1 to {MAX_NAME_CHARACTERS} characters")
        if account in self.accounts:
            return Rejected(f"there is an account {account!r} already")
        if len(self.accounts) >= MAX_ACCOUNTS:
            return Rejected(f"the bank has {MAX_ACCOUNTS} accounts and takes no more")
        self.accounts[account] = 0
        return self._receipt(account)

    def _deposit(self, account: str, cents: int) -> bytes | Rejected:
        if account not in self.accounts:
            return Rejected(f"there is no account {account!r}")
        if not 0 < cents <= MAX_AMOUNT:
            return Rejected(f"an amount is from 1 to {MAX_AMOUNT} cents")
        self.accounts[account] += cents
        return self._receipt(account)

    def _transfer(self, source: str, target: str, cents: int) -> bytes | Rejected:
        # All checks come before the first change: a rejected command has changed nothing.
        for account in (source, target):
            if account not in self.accounts:
                return Rejected(f"there is no account {account!r}")
        if not 0 < cents <= MAX_AMOUNT:
            return Rejected(f"an amount is from 1 to {MAX_AMOUNT} cents")
        if self.accounts[source] < cents:
            return Rejected(f"{source!r} holds {self.accounts[source]} cents, not {cents}")
        self.accounts[source] -= cents
        self.accounts[target] += cents
        return self._receipt(source)

    def _receipt(self, account: str) -> bytes:
        return _encoder.encode(Receipt(account, self.accounts[account]))

    def query(self, question: bytes) -> bytes | Rejected:
        """Answer a `Balance` or a `Total`."""
        try:
            asked = _question_decoder.decode(question)
        except ValueError as error:
            return Rejected(f"not a question to the bank: {error}")
        if isinstance(asked, Total):
            return _encoder.encode(sum(self.accounts.values()))
        if asked.account not in self.accounts:
            return Rejected(f"there is no account {asked.account!r}")
        return _encoder.encode(self.accounts[asked.account])

    def snapshot(self) -> Iterator[bytes]:
        """Sorted, so that equal banks give equal snapshots whatever way they came about."""
        accounts = sorted(self.accounts.items())
        for start in range(0, len(accounts), ACCOUNTS_PER_CHUNK):
            yield _encoder.encode(accounts[start : start + ACCOUNTS_PER_CHUNK])

    def restore(self, chunks: Iterable[bytes]) -> None:
        """Replace everything by a snapshot's accounts."""
        accounts: dict[str, int] = {}
        for chunk in chunks:
            accounts.update(_accounts_decoder.decode(chunk))  # raises ValueError if it is not one
        self.accounts = accounts

    def digest(self) -> bytes:
        """Never Python's own `hash`: it differs from process to process."""
        state = hashlib.sha256()
        for chunk in self.snapshot():
            state.update(chunk)
        return state.digest()


# For clients: commands and questions to bytes, replies from bytes.


def open_account(account: str) -> bytes:
    """A command: open an account."""
    return _encoder.encode(Open(account))


def deposit(account: str, cents: int) -> bytes:
    """A command: pay in."""
    return _encoder.encode(Deposit(account, cents))


def transfer(source: str, target: str, cents: int) -> bytes:
    """A command: move money."""
    return _encoder.encode(Transfer(source, target, cents))


def read_receipt(reply: bytes) -> Receipt:
    """The reply to any of the commands."""
    return _receipt_decoder.decode(reply)


def balance(account: str) -> bytes:
    """A question: one account's cents."""
    return _encoder.encode(Balance(account))


def total() -> bytes:
    """A question: all cents in the bank."""
    return _encoder.encode(Total())


def read_balance(answer: bytes) -> int:
    """The answer to either question, in cents."""
    return _cents_decoder.decode(answer)


_encoder = msgspec.msgpack.Encoder()
_command_decoder: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(Command)
_question_decoder: msgspec.msgpack.Decoder[Question] = msgspec.msgpack.Decoder(Question)
_receipt_decoder: msgspec.msgpack.Decoder[Receipt] = msgspec.msgpack.Decoder(Receipt)
_accounts_decoder: msgspec.msgpack.Decoder[list[tuple[str, int]]] = msgspec.msgpack.Decoder(list[tuple[str, int]])
_cents_decoder: msgspec.msgpack.Decoder[int] = msgspec.msgpack.Decoder(int)


# Three members of a cluster in one process. Yours would be three processes on three machines, each
# with one `Node` and a `NodeConfiguration` that differs in name, data and addresses alone.


def free_addresses(count: int) -> list[str]:
    """Addresses on this machine that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    return addresses


def configurations(directory: Path) -> list[NodeConfiguration]:
    """Three members that name each other."""
    names = ("n1", "n2", "n3")
    peers, clients = free_addresses(3), free_addresses(3)
    members = tuple(zip(names, peers, strict=True))
    return [
        NodeConfiguration(name=name, data=str(directory / name), peer=peer, client=client, initial_members=members)
        for (name, peer), client in zip(members, clients, strict=True)
    ]


async def run(directory: Path) -> None:
    """Open accounts, move money through every member, lose one member, go on."""
    async with AsyncExitStack() as stack:
        nodes = [Node(configuration, machine=Bank()) for configuration in configurations(directory)]
        # A first start needs every initial member, so they start together.
        await asyncio.gather(*[stack.enter_async_context(node) for node in nodes])

        await nodes[0].submit(open_account("alice"))
        await nodes[1].submit(open_account("bob"))
        await nodes[2].submit(deposit("alice", 100_00))
        await asyncio.gather(*[nodes[n % 3].submit(transfer("alice", "bob", 1_00)) for n in range(60)])
        print("bob holds", read_balance(await nodes[0].query(balance("bob"))), "cents")

        try:
            await nodes[1].submit(transfer("alice", "bob", 41_00))
        except RequestFailed as refusal:
            print(f"refused: {refusal} (took effect: {refusal.effect.value})")

        print("n1 stops; two of three go on")
        await nodes[0].stop()
        receipt = read_receipt(await nodes[1].submit(transfer("bob", "alice", 10_00)))
        print(receipt.account, "holds", receipt.balance, "cents")
        print("all accounts hold", read_balance(await nodes[2].query(total())), "cents")


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(run(Path(directory)))


if __name__ == "__main__":
    main()
