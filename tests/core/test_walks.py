"""Random walks of a few members through everything that may happen to them: what was decided stays, no read is stale.

Elections, crashes, cut links, lost, doubled and late messages, slow disks, clocks that drift within the bound;
membership changes, transfers, settings and lease reads in the middle of it. The seed says the whole walk.
"""

from __future__ import annotations

import random
from typing import Final

import pytest
from tests.datadriven.conversation import Conversation
from tests.datadriven.seat import Seat
from tests.datadriven.words import name, number

from coterie.core.replica import Effects
from coterie.core.types import EntryKind, Epoch, Index, MemberId, Nanos, Role, Token

WALKS = 60
STEPS = 1000
QUIET_MS = 20_000
"""In which, with all healed, the group settles."""
MAX_MEMBERS = 7
DRIFT_PERMILLE = 4
"""Two clocks differ by 9 thousandths at most, within the 10 of the settings' default."""
WEIGHTS: Final = {
    "deliver": 30,
    "sync": 20,
    "wait": 10,
    "propose": 9,
    "read": 9,
    "drop": 3,
    "run": 9,
    "split": 4,
    "heal": 3,
    "crash": 1.5,
    "restart": 3,
    "close": 1,
    "join": 0.7,
    "change": 5,
    "transfer": 1.5,
    "settings": 1,
    "campaign": 1,
}

SWARM: Final = (0, 0.3, 1, 1, 3)
"""Each walk has its own mix: by what the weights of faults and operators' wishes are multiplied. All at once hides what
one alone would show."""
ALWAYS: Final = frozenset({"deliver", "sync", "wait", "propose", "read", "run", "heal", "restart"})


class Walk(Conversation):
    """A conversation whose every effect is judged."""

    def __init__(self, protocol: str, seed: int) -> None:
        super().__init__(protocol)
        self.rng = random.Random(seed)
        self.weights = {
            kind: weight if kind in ALWAYS else weight * self.rng.choice(SWARM) for kind, weight in WEIGHTS.items()
        }
        self.force = self.rng.choice((0, 0.3, 0.9))
        self.chosen: dict[Index, tuple[EntryKind, Nanos, bytes]] = {}
        self.leaders: dict[Epoch, MemberId] = {}
        self.floors: dict[Token, Index] = {}
        self.answered = 0
        self.committed = 0
        self.changes = 0

    def perform(self, member: int, seat: Seat, effects: Effects, telling: bool) -> None:
        """See `Conversation.perform`."""
        assert effects.alarm is None, effects.alarm
        assert seat.replica is not None
        if seat.replica.role is Role.LEADER:
            epoch = seat.replica.epoch
            assert self.leaders.setdefault(epoch, member) == member, f"two leaders in epoch {epoch}"
        for entry in effects.committed:
            value = (entry.kind, entry.elapsed, entry.payload)
            assert self.chosen.setdefault(entry.index, value) == value, f"two entries chosen at {entry.index}"
            self.committed = max(self.committed, entry.index)
        for read in effects.reads:
            floor = self.floors.pop(read.token, None)
            assert floor is None or read.index >= floor, f"a stale read: {read.index}, and {floor} was committed before"
            self.answered += 1
        super().perform(member, seat, effects, telling)

    def begin(self) -> None:
        """Some voters, perhaps learners; clocks that differ, within the bound; perhaps lease reads."""
        voters, learners = self.rng.choice((1, 2, 3, 3, 3, 4, 5)), self.rng.choice((0, 0, 1, 2))
        names = ",".join(name(voters + 1 + i) for i in range(learners))
        self.run(f"cluster {voters + learners} learners={names} leader=n1")
        for seat in self.seats.values():
            seat.drift = self.rng.randint(-DRIFT_PERMILLE, DRIFT_PERMILLE)
            seat.ahead = self.rng.randrange(10**12)
        if self.rng.random() < 0.6:
            self.run("settings n1 lease_reads=true")

    # -- steps ---------------------------------------------------------------------------------

    def up(self) -> list[int]:
        return [member for member, seat in self.seats.items() if seat.replica is not None]

    def someone(self) -> str | None:
        return name(self.rng.choice(self.up())) if self.up() else None

    def asked(self) -> str | None:
        """Mostly a leader."""
        leaders = [i for i in self.up() if self.seats[i].running.role is Role.LEADER]
        return name(self.rng.choice(leaders)) if leaders and self.rng.random() < 0.9 else self.someone()

    def step(self) -> None:
        kind = self.rng.choices(list(self.weights), list(self.weights.values()))[0]
        member = self.asked() if kind in ("propose", "read", "change", "transfer", "settings") else self.someone()
        if member is None and kind not in ("restart", "wait", "run", "heal", "split", "join"):
            return
        getattr(self, f"step_{kind}")(member or "")

    def step_deliver(self, member: str) -> None:
        for _ in range(self.rng.randrange(1, 12)):
            if self.messages:
                late = self.rng.random() < 0.2
                position = self.rng.randrange(len(self.messages)) if late else 0
                twice = self.rng.random() < 0.05
                message = self.messages[position] if twice else self.messages.pop(position)
                self.deliver(*message)

    def step_drop(self, member: str) -> None:
        for _ in range(self.rng.randrange(1, 4)):
            if self.messages:
                self.messages.pop(self.rng.randrange(len(self.messages)))

    def step_sync(self, member: str) -> None:
        for _ in range(3):
            self.sync(self.rng.choice(self.up()), batches=self.rng.choice((0, 0, 1)))

    def step_wait(self, member: str) -> None:
        chosen = "" if self.rng.random() < 0.7 or not member else f" {member}"
        self.run(f"wait {self.rng.choice((1, 5, 20, 60, 100, 150, 300, 990))}ms{chosen}")

    def step_propose(self, member: str) -> None:
        self.run(f"propose {member} x{self.token}")

    def step_read(self, member: str) -> None:
        self.floors[self.token + 1] = self.committed
        self.run(f"read {member}")

    def step_run(self, member: str) -> None:
        self.run(f"run {self.rng.choice((5, 10, 20, 50, 200, 1200, 2500))}ms")

    def step_split(self, member: str) -> None:
        """Two sides that do not hear each other; some links hold all the same."""
        side = self.rng.sample(list(self.seats), self.rng.randrange(len(self.seats)))
        for i in side:
            for j in self.seats:
                if j not in side and self.rng.random() < 0.9:
                    self.cut |= {(i, j), (j, i)}

    def step_heal(self, member: str) -> None:
        self.run("heal")

    def step_crash(self, member: str) -> None:
        self.run(f"crash {member}")

    def step_restart(self, member: str) -> None:
        down = [i for i in self.seats if i not in self.up()]
        if down:
            self.run(f"restart {name(self.rng.choice(down))}")

    def step_close(self, member: str) -> None:
        self.run(f"close {member} {name(self.rng.choice(list(self.seats)))} refused")

    def step_join(self, member: str) -> None:
        if len(self.seats) < MAX_MEMBERS:
            self.run(f"join {name(len(self.seats) + 1)}")

    def step_change(self, member: str) -> None:
        membership = self.seats[number(member)].running.membership
        known = {m.id for m in membership.members}
        words = ["change", member]
        strangers = [i for i in self.seats if i not in known]
        if strangers and self.rng.random() < 0.6:
            words.append(f"add={name(self.rng.choice(strangers))}")
        if membership.learners and self.rng.random() < 0.8:
            count = self.rng.randrange(1, len(membership.learners) + 1)
            words.append("promote=" + ",".join(name(i) for i in self.rng.sample(membership.learners, count)))
        if len(membership.voters) > 2 and self.rng.random() < 0.5:
            words.append(f"remove={name(self.rng.choice(membership.voters))}")
        if self.rng.random() < self.force:
            words.append("force")
        self.changes += any(" accepted " in line for line in self.run(" ".join(words)))
        if self.rng.random() < 0.3:
            self.step_change(self.asked() or member)

    def step_transfer(self, member: str) -> None:
        self.run(f"transfer {member} {self.someone() if self.rng.random() < 0.8 else ''}")

    def step_settings(self, member: str) -> None:
        self.run(f"settings {member} lease_reads={'true' if self.rng.random() < 0.75 else 'false'}")

    def step_campaign(self, member: str) -> None:
        if self.seats[number(member)].running.role is not Role.LEADER:
            self.wake(number(member))

    # -- the end -------------------------------------------------------------------------------

    def settle_down(self) -> None:
        """Everything works again: somebody leads, all members agree, no change is half done."""
        self.run("heal")
        for member in self.seats:
            if member not in self.up():
                self.run(f"restart {name(member)}")
        self.run(f"run {QUIET_MS}ms")
        leaders = [member for member in self.up() if self.seats[member].running.role is Role.LEADER]
        assert leaders, "nobody leads, though everything works"
        self.step_propose(name(leaders[0]))
        self.run("run 1000ms")
        leader = self.seats[leaders[0]].running
        assert leader.role is Role.LEADER
        assert not leader.membership.outgoing
        assert leader.commit == leader.last_index
        for known in leader.membership.members:
            assert self.seats[known.id].running.commit == leader.commit, f"{known.name} lags"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(WALKS))
def test_what_was_decided_stays_no_read_is_stale_and_the_group_recovers(protocol: str, seed: int) -> None:
    walk = Walk(protocol, seed)
    walk.begin()
    for _ in range(STEPS):
        walk.step()
    walk.settle_down()
    assert walk.committed > 2
