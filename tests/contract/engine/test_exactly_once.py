"""Commands forwarded through loss, duplication, reordering and crashes take effect at most once, and each
request gets exactly one answer, which is true."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from tests.contract.engine.cluster import Cluster, Packet

from coterie.engine.protocol import Answer, Failure, Happened, Query, ReadMode, Submit

MEMBERS = (1, 2, 3)


class ExactlyOnceMachine(RuleBasedStateMachine):
    """Clients ask any member; the network and the processes misbehave. Then everything heals, and we count."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster()
        self.cluster.elect()
        self.number = 0
        self.asked: dict[int, tuple[int, int]] = {}
        """(member, its boot) that each command was given to."""
        self.reads: dict[int, tuple[int, int, set[bytes]]] = {}
        """For each linearizable read also what had been acknowledged before."""

    def acknowledged(self) -> set[bytes]:
        return {
            str(id).encode()
            for (client, id), answers in self.cluster.answers.items()
            if client == "writer" and any(isinstance(answer, Answer) for answer in answers)
        }

    @rule(member=st.sampled_from(MEMBERS), count=st.integers(1, 4), flush=st.booleans())
    def submit(self, member: int, count: int, flush: bool) -> None:
        node = self.cluster.nodes.get(member)
        if node is None:
            return
        for _ in range(count):
            self.number += 1
            self.asked[self.number] = (member, node.disk.boot)
            request = Submit(self.number, 0, 0, 0, str(self.number).encode())
            node.engine.request(self.cluster.now, "writer", request)
        if flush:
            self.cluster.flush(member)

    @rule(member=st.sampled_from(MEMBERS))
    def read(self, member: int) -> None:
        node = self.cluster.nodes.get(member)
        if node is None:
            return
        self.number += 1
        self.reads[self.number] = (member, node.disk.boot, self.acknowledged())
        self.cluster.request(member, "reader", Query(self.number, ReadMode.LINEARIZABLE, 0, b""))

    @rule(randomness=st.randoms(use_true_random=False), steps=st.integers(1, 4))
    def a_bad_network(self, randomness: object, steps: int) -> None:
        draw = randomness.random  # type: ignore[attr-defined]  # a random.Random that Hypothesis records

        def spoil(packets: list[Packet]) -> list[Packet]:
            arriving: list[Packet] = []
            for packet in packets:
                fate = draw()
                arriving.extend([packet] * (0 if fate < 0.2 else 2 if fate < 0.5 else 1))
                if fate > 0.8:
                    self.cluster.packets.append(packet)
            randomness.shuffle(arriving)  # type: ignore[attr-defined]  # as above
            return arriving

        self.cluster.tamper = spoil
        for _ in range(steps):
            self.cluster.step()
        self.cluster.heal()

    @rule(milliseconds=st.sampled_from([1, 100, 700, 2500]))
    def time_passes(self, milliseconds: int) -> None:
        self.cluster.run(milliseconds)

    @rule(member=st.sampled_from(MEMBERS), milliseconds=st.sampled_from([50, 600, 2500]))
    def a_member_is_cut_off(self, member: int, milliseconds: int) -> None:
        self.cluster.cut(member)
        self.cluster.run(milliseconds)
        self.cluster.heal()

    @precondition(lambda self: len(self.cluster.nodes) == len(MEMBERS))
    @rule(member=st.sampled_from(MEMBERS))
    def crash(self, member: int) -> None:
        self.cluster.crash(member)

    @precondition(lambda self: len(self.cluster.nodes) < len(MEMBERS))
    @rule()
    def restart(self) -> None:
        (member,) = set(MEMBERS) - set(self.cluster.nodes)
        self.cluster.restart(member)

    def teardown(self) -> None:
        cluster = self.cluster
        cluster.heal()
        for member in set(MEMBERS) - set(cluster.nodes):
            cluster.restart(member)
        for member in MEMBERS:
            cluster.flush(member)
        cluster.run(12_000)
        ledgers = [node.ledger.lines for node in cluster.nodes.values()]
        assert ledgers[0] == ledgers[1] == ledgers[2]
        assert len(set(ledgers[0])) == len(ledgers[0]), "a command took effect twice"
        for number, (member, boot) in self.asked.items():
            self.check_command(number, cluster.disks[member].boot == boot, str(number).encode() in ledgers[0])
        for number, (member, boot, known) in self.reads.items():
            answers = cluster.answers.get(("reader", number), [])
            assert len(answers) == 1 or (not answers and cluster.disks[member].boot != boot)
            for answer in answers:
                assert not isinstance(answer, Answer) or known <= set(answer.body.split(b","))
        for node in cluster.nodes.values():
            assert node.engine.idle

    def check_command(self, number: int, still_runs: bool, took_effect: bool) -> None:
        answers = self.cluster.answers.get(("writer", number), [])
        assert len(answers) <= 1
        if not answers:
            assert not still_runs, f"request {number} was never answered"
            return
        (answer,) = answers
        if isinstance(answer, Answer):
            assert took_effect, f"{number} was acknowledged, and is lost"
        else:
            assert isinstance(answer, Failure)
            assert answer.happened is not Happened.YES
            assert not (answer.happened is Happened.NO and took_effect), f"{number}: {answer}, but it took effect"


def test_each_command_takes_effect_as_its_answer_says() -> None:
    run_state_machine_as_test(
        ExactlyOnceMachine, settings=settings(max_examples=40, stateful_step_count=15, deadline=None)
    )
