"""First start over real sockets: members agree on one set; strangers are told what to do."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest
from tests.runtime.conftest import run, until

from coterie.core.types import Member
from coterie.engine.first_start import FirstStartConflict, Introduction
from coterie.runtime.addresses import bound_address, listen
from coterie.runtime.first_start import agree_on_first_members, ask, not_started, started_answer
from coterie.runtime.handshake import PeerRefused, RefusalCode
from coterie.runtime.log_lines import Lines
from coterie.runtime.peer_port import PeerPort


class Directory:
    """What a data directory keeps of a first start, in memory."""

    def __init__(self) -> None:
        self.first_members: tuple[Member, ...] | None = None
        self.fixings = 0
        self.restored = b""

    def fix_first_members(self, members: tuple[Member, ...]) -> None:
        assert self.first_members is None
        self.first_members = members
        self.fixings += 1


class Starter:
    def __init__(self, number: int, directory: Directory | None = None) -> None:
        (self.listener,) = listen("127.0.0.1:0", "test")
        self.name = f"n{number}"
        self.address = bound_address(self.listener)
        self.directory = directory or Directory()
        self.own = Member(100 + number, self.name, self.address, f"client:{number}")
        self.port = PeerPort(Lines(self.name), not_started)

    async def serve(self) -> None:
        self.server = await asyncio.get_running_loop().create_server(self.port.protocol, sock=self.listener)

    def agree(self, names: tuple[tuple[str, str], ...]) -> asyncio.Task[tuple[Member, ...]]:
        return asyncio.ensure_future(
            agree_on_first_members(
                self.own,
                names,
                directory=self.directory,
                port=self.port,
                lines=Lines(self.name),
                rng=random.Random(self.own.id),
            )
        )

    def end(self) -> None:
        self.server.close()
        self.port.close()


async def cluster(count: int = 3) -> tuple[list[Starter], tuple[tuple[str, str], ...]]:
    starters = [Starter(number) for number in range(1, count + 1)]
    for starter in starters:
        await starter.serve()
    return starters, tuple((starter.name, starter.address) for starter in starters)


def test_a_member_that_was_restored_from_a_file_does_not_start_beside_one_that_was_not() -> None:
    async def work() -> None:
        starters, names = await cluster(2)
        starters[1].directory.restored = b"r" * 32
        tasks = [starter.agree(names) for starter in starters]
        ended, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:  # the one that was refused; the other waits for the right one
            with pytest.raises(FirstStartConflict, match=r"refuses this member's first start.*a restored state \(7272"):
                task.result()
        assert [starter.directory.fixings for starter in starters] == [0, 0]
        for task in waiting:
            task.cancel()
        for starter in starters:
            starter.end()

    run(work)


def test_members_that_start_at_different_times_agree_on_one_set() -> None:
    async def work() -> None:
        starters, names = await cluster()
        tasks: list[asyncio.Task[tuple[Member, ...]]] = []
        for starter in starters:
            assert not any(task.done() for task in tasks), "nobody starts before the last has come"
            tasks.append(starter.agree(names))
            await asyncio.sleep(0.05)
        sets = await asyncio.gather(*tasks)
        assert set(sets) == {tuple(starter.own for starter in starters)}
        assert [starter.directory.fixings for starter in starters] == [1, 1, 1]
        for starter in starters:
            starter.end()

    run(work)


def test_a_member_that_missed_the_last_echo_starts_by_those_that_have_started() -> None:
    async def work() -> None:
        starters, names = await cluster()
        await asyncio.gather(*[starter.agree(names) for starter in starters])
        again = starters[2]
        again.port.answer_introduction = not_started
        assert again.directory.first_members is not None
        for starter in starters[:2]:
            starter.port.answer_introduction = started_answer(starter.own.id, again.directory.first_members)
        assert await again.agree(names) == again.directory.first_members
        assert again.directory.fixings == 1
        for starter in starters:
            starter.end()

    run(work)


def test_a_wiped_member_is_refused_with_what_to_do_and_the_others_stay(lines: Callable[[], list[str]]) -> None:
    async def work() -> None:
        starters, names = await cluster()
        await asyncio.gather(*[starter.agree(names) for starter in starters])
        wiped = starters[1]
        wiped.directory = Directory()
        wiped.own = Member(999, wiped.name, wiped.address, "client:2")
        with pytest.raises(FirstStartConflict, match=r"refuses.*wiped.*remove the member from it, then add it again"):
            await wiped.agree(names)
        assert wiped.directory.fixings == 0
        assert any(line.startswith(("peer-refused node=n1", "peer-refused node=n3")) for line in lines())
        for starter in starters:
            starter.end()

    run(work)


def test_a_member_with_another_list_of_members_is_told(lines: Callable[[], list[str]]) -> None:
    async def work() -> None:
        starters, names = await cluster(2)
        first = starters[0].agree(names)
        with pytest.raises(FirstStartConflict, match="was configured with the initial members"):
            await starters[1].agree((*names, ("n3", "127.0.0.1:1")))
        first.cancel()
        await asyncio.wait([first])
        for starter in starters:
            starter.end()

    run(work)


def test_a_member_that_waits_says_for_whom(lines: Callable[[], list[str]]) -> None:
    async def work() -> None:
        starters, names = await cluster(2)
        task = starters[0].agree(names)
        await until(lambda: any(line == "first-start-waits node=n1 missing=n2" for line in lines()))
        task.cancel()
        await asyncio.wait([task])
        assert starters[0].directory.first_members is None
        for starter in starters:
            starter.end()

    run(work)


def test_before_its_disk_is_open_a_member_asks_for_patience() -> None:
    async def work() -> None:
        starters, names = await cluster(1)
        answer = await ask(starters[0].address, Introduction(starters[0].own, names, b""))
        assert isinstance(answer, PeerRefused)
        assert answer.code == RefusalCode.NOT_STARTED
        starters[0].end()

    run(work)
