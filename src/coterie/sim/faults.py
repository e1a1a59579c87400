"""What goes wrong, and when: one injector per fault class, each with its own source of chance."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Protocol

from coterie.core.config import MILLISECOND
from coterie.core.types import NOBODY, MemberId, Nanos
from coterie.sim.ambush import Ambush, Moment
from coterie.sim.chance import exponential, happens, stream
from coterie.sim.clients import Client
from coterie.sim.hardware import Hardware
from coterie.sim.network import Network
from coterie.sim.options import Options
from coterie.sim.schedule import Schedule
from coterie.sim.subject import Judge

SELDOM: Final = ("flapping", "read-error", "unsteady-clock", "client-crash", "absence")
"""Classes that strike less often than others, or little would ever be done."""


ABSENCES: Final = (10, 30, 100, 1000)
"""Election timeouts for which a member may be away: so long that the others forget what it lacks, or until the world
heals. Late in a run only, or the others would be too few to do much."""


class Victim(Protocol):
    """What can be done to a member."""

    id: MemberId

    @property
    def up(self) -> bool:
        """Whether its process lives."""

    def crash(self, *, power: bool) -> None:
        """End the process now; `power`: what was not synced may be lost."""

    def crash_after(self, calls: int) -> None:
        """End the process in the middle of a step, before this many more calls of its ports and its disk."""

    def crash_in_write(self) -> None:
        """End the process between the next write of several sectors and its sync."""

    def peer_closed(self, peer: MemberId, refused: bool) -> None:
        """The connection to a peer closed; `refused`: and it seems that nobody is there."""

    def pause(self, duration: Nanos) -> None:
        """Let the process stand still; what arrives meanwhile it sees afterwards."""

    @property
    def restorable(self) -> bool:
        """Whether there is a copy of its disk which its peers can tell from it."""

    def back_up(self) -> None:
        """Copy its disk as it is."""

    def restore(self) -> None:
        """End the process, and put the copy in the place of its disk."""

    def wipe(self) -> None:
        """End the process, and put an empty disk in."""

    @property
    def hardware(self) -> Hardware:
        """What it runs on."""

    def decay(self, how: Callable[[Hardware], None]) -> None:
        """The process ends, and its disk is damaged so before the next start."""


class Faults:
    """Injects the chosen classes until it is told to stop."""

    def __init__(
        self,
        options: Options,
        schedule: Schedule,
        network: Network,
        members: list[Victim],
        leader: Callable[[], MemberId],
        may_damage: Callable[[MemberId], bool],
        clients: Sequence[Client],
        judge: Judge,
    ) -> None:
        """`members`: grows as members join. `may_damage`: whether a member's disk may be lost for good."""
        self._options = options
        self._schedule = schedule
        self._network = network
        self._members = members
        self._leader = leader
        self._on = True
        self._may_damage = may_damage
        self._clients = clients
        self._judge = judge
        self._ambush = Ambush(options, schedule)
        self._absent = False
        """A member is away: one at a time, or the others would be too few for too long."""
        injectors: dict[str, Callable[[random.Random], None]] = {
            "delay": self._slow_link,
            "partition": self._partition,
            "depose": self._depose,
            "partial": self._part,
            "crash": self._crash,
            "pause": self._pause,
            "slow-disk": self._slow_disk,
            "full-disk": self._fill_disk,
            "sync-error": self._fail_sync,
            "bit-rot": self._decay(Hardware.rot),
            "misdirect": self._decay(Hardware.misdirect),
            "lost-name": self._decay(Hardware.lose_name),
            "wipe": self._wipe,
            "restore": self._restore,
            "flapping": self._flap,
            "read-error": self._fail_reads,
            "unsteady-clock": self._disturb_clock,
            "client-crash": self._crash_client,
            "absence": self._leave,
        }
        for name, inject in injectors.items():
            if options.has(name):
                self._repeat(name, inject, stream(options.seed, f"fault {name}"))

    def stop(self) -> None:
        """Nothing new goes wrong from now on."""
        self._on = False

    def _repeat(self, name: str, inject: Callable[[random.Random], None], rng: random.Random) -> None:
        def strike() -> None:
            if self._on:
                inject(rng)
                self._schedule.after(exponential(rng, interval), name, strike)

        interval = self._options.fault_interval
        if name == "depose":
            interval = self._options.election_timeout * rng.choice((1, 2, 4))
        elif name in SELDOM:
            interval *= 3
        self._schedule.after(exponential(rng, self._options.fault_interval), name, strike)

    def _victim(self, rng: random.Random) -> Victim:
        """The leader half of the time: there the interesting state is."""
        leader = self._leader()
        if leader != NOBODY and rng.getrandbits(1):
            return next(m for m in self._members if m.id == leader)
        return rng.choice(self._members)

    def _duration(self, rng: random.Random) -> Nanos:
        """From a moment to many election timeouts, every order of magnitude as likely."""
        scale = self._options.election_timeout // rng.choice((20, 4, 1)) * rng.choice((1, 4))
        return rng.randrange(scale // 2, scale * 2)

    # -- the classes ---------------------------------------------------------------------------

    def _slow_link(self, rng: random.Random) -> None:
        one, two = rng.choice(self._members).id, rng.choice(self._members).id
        self._network.slow((one, two), rng.choice((10, 30, 100)))
        self._schedule.after(self._duration(rng), "link normal", lambda: self._network.slow((one, two), 1))

    def _partition(self, rng: random.Random) -> None:
        pairs = self._pairs(rng)
        self._cut_for(self._duration(rng), pairs)

    def _depose(self, rng: random.Random) -> None:
        """Cut the leader off for about as long as the others need to elect the next one, which may be cut off
        before it has done much: logs diverge (Raft, figures 7 and 8)."""
        leader = self._leader()
        if leader == NOBODY or rng.randrange(3) == 0:
            return
        others = [m.id for m in self._members if m.id != leader]
        confidant = rng.choice(others) if len(others) > 2 and rng.getrandbits(1) else NOBODY
        cut = [(leader, other) for other in others if other != confidant]
        pairs = [(other, one) for one, other in cut]
        if rng.randrange(4):
            pairs += cut  # else it hears nobody, and is heard
        if rng.randrange(3) == 0:
            # A firewall refuses new connections, and they think that its process is gone.
            delay = rng.randrange(self._options.election_timeout)
            self._schedule.after(delay, "firewall", lambda: self._refuse(leader, [other for _, other in cut]))
        timeout = self._options.election_timeout
        self._cut_for(rng.randrange(timeout, timeout * 5), pairs)

    def _refuse(self, leader: MemberId, others: list[MemberId]) -> None:
        for member in self._members:
            if member.id in others:
                member.peer_closed(leader, True)

    def _pairs(self, rng: random.Random) -> list[tuple[MemberId, MemberId]]:
        ids = [m.id for m in self._members]
        every = [(a, b) for a in ids for b in ids if a != b]
        lone = self._victim(rng).id
        shape = rng.choice(("isolate", "isolate", "deaf", "mute", "halves", "halves", "bridge", "ring", "link"))
        return self._cuts(rng, shape, ids, every, lone)

    def _cuts(
        self,
        rng: random.Random,
        shape: str,
        ids: list[MemberId],
        every: list[tuple[MemberId, MemberId]],
        lone: MemberId,
    ) -> list[tuple[MemberId, MemberId]]:
        if shape == "isolate":
            return [(a, b) for a, b in every if lone in (a, b)]
        if shape == "deaf":
            return [(a, b) for a, b in every if b == lone]
        if shape == "mute":
            return [(a, b) for a, b in every if a == lone]
        if shape == "link":
            return [rng.choice(every)] if every else []
        rng.shuffle(ids)
        place = {member: position for position, member in enumerate(ids)}
        size = len(ids)
        if shape == "ring":
            return [(a, b) for a, b in every if (place[a] - place[b]) % size not in (1, size - 1)]
        middle = size // 2
        bridge = ids[middle] if shape == "bridge" and size > 2 else NOBODY
        return [(a, b) for a, b in every if bridge not in (a, b) and (place[a] < middle) != (place[b] < middle)]

    def _flap(self, rng: random.Random) -> None:
        """Links that go and come, faster and slower than an election: one, all of one member, or those between the
        least majority and the rest."""
        ids = [m.id for m in self._members]
        every = [(a, b) for a in ids for b in ids if a != b]
        lone = self._victim(rng).id
        shape = rng.choice(("link", "isolate", "deaf", "mute", "majority"))
        if shape == "majority":
            side = rng.sample(ids, len(ids) // 2 + 1)
            pairs = [(a, b) for a, b in every if (a in side) != (b in side)]
        else:
            pairs = self._cuts(rng, shape, ids, every, lone)
        period = self._options.election_timeout // rng.choice((20, 5, 2, 1))
        for turn in range(rng.randrange(2, 12)):
            begins, duration = turn * period * 2 + rng.randrange(period), rng.randrange(period // 2, period * 2)
            self._schedule.after(begins, "flap", partial(self._cut_later, duration, pairs))

    def _cut_later(self, duration: Nanos, pairs: list[tuple[MemberId, MemberId]]) -> None:
        if self._on:
            self._cut_for(duration, pairs)

    def _part(self, rng: random.Random) -> None:
        """A partial partition (OmniPaxos, section 2): a chain, or a star, whose centre alone reaches a quorum. In half
        of the stars the leader is gone, too, and the centre has fallen behind before: the constrained election."""
        ids = [m.id for m in self._members]
        if len(ids) < 3:
            return
        timeout, leader = self._options.election_timeout, self._leader()
        rng.shuffle(ids)
        every = [(a, b) for a in ids for b in ids if a != b]
        place = {member: position for position, member in enumerate(ids)}
        centre, duration = ids[0], rng.randrange(timeout * 2, timeout * 10)
        if rng.randrange(3) == 0:
            self._cut_for(duration, [(a, b) for a, b in every if abs(place[a] - place[b]) > 1])
            return
        star = [(a, b) for a, b in every if centre not in (a, b)]
        if leader in (NOBODY, centre) or rng.getrandbits(1):
            self._cut_for(duration, star)
            return
        behind = rng.randrange(timeout)
        gone = [(a, b) for a, b in every if leader in (a, b) and centre in (a, b)]
        self._cut_for(behind + duration, gone)

        self._schedule.after(behind, "star", partial(self._cut_later, duration, star))

    def _cut_for(self, duration: Nanos, pairs: list[tuple[MemberId, MemberId]]) -> None:
        self._network.cut(pairs)

        def mend() -> None:
            if self._on:
                self._network.mend(pairs)

        self._schedule.after(duration, "mend", mend)

    def _crash(self, rng: random.Random) -> None:
        power = rng.randrange(4) > 0
        if rng.randrange(7) == 0:
            for member in self._members:
                if member.up and rng.randrange(5):
                    member.crash(power=power)
            return
        victim = self._victim(rng)
        if not victim.up:
            return
        mode = rng.randrange(4)
        if mode == 0:
            victim.crash(power=power)
        elif mode == 1:
            victim.crash_in_write()
        else:
            victim.crash_after(rng.randrange(1, 25))

    def _pause(self, rng: random.Random) -> None:
        longest = rng.choice((400, 2000, 10_000)) * MILLISECOND
        self._victim(rng).pause(rng.randrange(100 * MILLISECOND, longest))

    def _slow_disk(self, rng: random.Random) -> None:
        until = self._schedule.now + self._duration(rng)
        hang = happens(rng, 250)
        latency = rng.randrange(1000, 2500) * MILLISECOND if hang else rng.randrange(10, 400) * MILLISECOND
        self._victim(rng).hardware.slow_disk(until, latency)

    def _fill_disk(self, rng: random.Random) -> None:
        self._victim(rng).hardware.fill_disk(self._schedule.now + self._duration(rng))

    def _fail_sync(self, rng: random.Random) -> None:
        self._victim(rng).hardware.fail_sync()

    def _fail_reads(self, rng: random.Random) -> None:
        self._victim(rng).hardware.fail_reads(rng.randrange(1, 4))

    def _disturb_clock(self, rng: random.Random) -> None:
        """A clock that stands still is more than a lease allows for: nobody may use leases then."""
        hardware = self._victim(rng).hardware
        if self._options.has("lease") or rng.getrandbits(1):
            hardware.change_clock_rate(rng)
            return
        duration = rng.randrange(100 * MILLISECOND, rng.choice((400, 3000)) * MILLISECOND)
        self._judge.clock_stopped(duration)
        hardware.stop_clock(duration, catches_up=rng.getrandbits(1) > 0)

    def _leave(self, rng: random.Random) -> None:
        self._send_away(rng, self._victim(rng))

    def _send_away(self, rng: random.Random, member: Victim) -> None:
        """Cut a member off from all the others, perhaps until the world heals: what it knows and does not know then
        stays so, whatever becomes of the others."""
        others = [m.id for m in self._members if m.id != member.id]
        early = self._schedule.now < self._options.duration * 2 // 3
        if self._absent or early or len(others) < 2:
            return
        self._absent = True
        duration = self._options.election_timeout * rng.choice(ABSENCES)
        self._cut_for(duration, [pair for other in others for pair in ((member.id, other), (other, member.id))])
        self._schedule.after(duration, "returns", self._return)

    def _return(self) -> None:
        self._absent = False

    def _crash_client(self, rng: random.Random) -> None:
        rng.choice(self._clients).crash()

    def moment(self, member: MemberId, moment: Moment) -> bool:
        """The member is just at a point where a fault may show most (`Moment`); returns whether one struck."""
        if not self._on or not self._ambush.strikes(moment):
            return False
        rng = self._ambush.rng
        victim = next(m for m in self._members if m.id == member)
        blow = rng.randrange(6)
        if blow == 0:
            victim.pause(rng.randrange(100 * MILLISECOND, 2000 * MILLISECOND))
        elif blow == 1:
            others = [m.id for m in self._members if m.id != member]
            self._cut_for(
                self._duration(rng), [pair for other in others for pair in ((member, other), (other, member))]
            )
        elif blow == 2:
            self._send_away(rng, victim)
        elif blow == 3:
            self._send_away(rng, rng.choice(self._members))
        else:
            victim.crash_after(rng.randrange(1, 6))
        return True

    def _decay(self, how: Callable[[Hardware], None]) -> Callable[[random.Random], None]:
        """Only where the others are a quorum: damage must stay recoverable."""

        def strike(rng: random.Random) -> None:
            victim = self._victim(rng)
            if self._may_damage(victim.id):
                victim.decay(how)

        return strike

    def _wipe(self, rng: random.Random) -> None:
        victim = self._victim(rng)
        if not rng.randrange(4) and self._may_damage(victim.id):
            victim.wipe()

    def _restore(self, rng: random.Random) -> None:
        candidates = [m for m in self._members if m.restorable and self._may_damage(m.id)]
        if candidates and rng.getrandbits(1):
            rng.choice(candidates).restore()
        else:
            self._victim(rng).back_up()
