"""A caller of the Lock and Election services: several who want the same, hold it for a while, and may die meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from coterie.core.config import MILLISECOND
from coterie.core.types import Nanos
from coterie.etcd.wire import election, lock, rpc
from coterie.sim.api.caller import TXN, ApiCaller, Method, Refused
from coterie.sim.api.holders import ELECTION, FENCED, LOCK
from coterie.sim.api.lease_caller import GRANT, REVOKE
from coterie.sim.api.wire import Call
from coterie.sim.chance import happens

LOCK_CALL: Final = Method("/v3lockpb.Lock/Lock", lock.LockResponse)
UNLOCK: Final = Method("/v3lockpb.Lock/Unlock", lock.UnlockResponse)
CAMPAIGN: Final = Method("/v3electionpb.Election/Campaign", election.CampaignResponse)
PROCLAIM: Final = Method("/v3electionpb.Election/Proclaim", election.ProclaimResponse)
RESIGN: Final = Method("/v3electionpb.Election/Resign", election.ResignResponse)
OBSERVE: Final = Method("/v3electionpb.Election/Observe", election.LeaderResponse)
SESSIONS: Final = 3
TTL_S: Final = 2
HOLD: Final = (5, 50, 400, 2500)
"""Milliseconds for which a holder holds: longer than its lease lives, perhaps."""
DIES_PERMILLE: Final = 250
"""Holders in a thousand that never let go: their lease's end does."""
OUTLIVED_PERMILLE: Final = 300
"""Sessions in a thousand whose lease is revoked while they wait for their turn."""


class LockCaller(ApiCaller):
    """Each of its sessions has a lease, and competes with the others for one lock or one election."""

    _sessions = 0
    _life = 0
    _observer: Call | None = None

    def do(self) -> None:
        """See `ApiCaller`."""
        if self._sessions < SESSIONS:
            self._sessions += 1
            self._begin(self._life)

    def tend(self) -> None:
        """See `ApiCaller`: look who leads."""
        if self._observer is None and not self.goal:
            self._observe()
        elif self._observer is not None and (self.goal or happens(self.rng, 10)):
            self._calls.cancel(self._observer)
            self._observer = None

    def _observe(self) -> None:
        turn = 0

        def told(answer: election.LeaderResponse, size: int) -> None:
            nonlocal turn
            turn = self.judge.holders.observed(ELECTION, answer.kv.key, answer.kv.create_revision, turn)

        def ended(refused: Refused) -> None:
            self._observer = None

        self._observer = self.stream(OBSERVE, told, ended)
        self._calls.say(self._observer, election.LeaderRequest(name=ELECTION).SerializeToString())

    def forget(self) -> None:
        """See `ApiCaller`: whoever held something holds it until its lease ends."""
        self._life += 1
        self._sessions = 0

    def _over(self, life: int) -> None:
        if life == self._life:
            self._sessions -= 1

    # -- a session -------------------------------------------------------------------------------

    def _begin(self, life: int) -> None:
        sent = self.now

        def granted(answer: rpc.LeaseGrantResponse | Refused) -> None:
            if isinstance(answer, Refused) or self.goal or life != self._life:
                self._over(life)
                return
            self.judge.leases.promised(answer.ID, answer.TTL, sent, self.now)
            self.move()
            if happens(self.rng, 500):
                self._lock(life, answer.ID)
            else:
                self._campaign(life, answer.ID)
            if happens(self.rng, OUTLIVED_PERMILLE):
                delay = self.rng.randrange(self.rng.choice((50, 1000))) * MILLISECOND
                self.after(delay, lambda: self._revoke(answer.ID))

        self.ask(GRANT, rpc.LeaseGrantRequest(TTL=TTL_S), granted)

    def _revoke(self, lease: int) -> None:
        if not self.goal:
            self.move()
            self.judge.leases.revoking(lease)
            self.ask(REVOKE, rpc.LeaseRevokeRequest(ID=lease), _ignore)

    def _lock(self, life: int, lease: int) -> None:
        began = self.now

        def done(answer: lock.LockResponse | Refused) -> None:
            if isinstance(answer, Refused):
                self._over(life)
                return
            self.judge.holders.told(LOCK, answer.key, 0, began, self.now)
            unlock = partial(self.ask, UNLOCK, lock.UnlockRequest(key=answer.key), _ignore)
            self._hold(life, LOCK, answer.key, 0, unlock)

        self.ask(LOCK_CALL, lock.LockRequest(name=LOCK, lease=lease), done)

    def _campaign(self, life: int, lease: int) -> None:
        began = self.now

        def done(answer: election.CampaignResponse | Refused) -> None:
            if isinstance(answer, Refused):
                self._over(life)
                return
            leader = answer.leader
            self.judge.holders.told(ELECTION, leader.key, leader.rev, began, self.now)
            if happens(self.rng, 500):
                self._proclaim(leader)
            resign = partial(self.ask, RESIGN, election.ResignRequest(leader=leader), _ignore)
            self._hold(life, ELECTION, leader.key, leader.rev, resign)

        self.ask(CAMPAIGN, election.CampaignRequest(name=ELECTION, lease=lease, value=self.value()), done)

    def _proclaim(self, leader: election.LeaderKey) -> None:
        value, began = self.value(), self.now
        op = self.begin("put", leader.key, value)

        def done(answer: election.ProclaimResponse | Refused) -> None:
            if isinstance(answer, Refused):
                # A flow of several steps: which of them failed is not said.
                self.judge.fail(op, self.now, "unknown")
            else:
                self.judge.wrote(op, self.now, answer.header.revision, True)
                self.judge.holders.told(ELECTION, leader.key, leader.rev, began, self.now)

        self.ask(PROCLAIM, election.ProclaimRequest(leader=leader, value=value), done)

    def _hold(self, life: int, name: bytes, key: bytes, created: int, let_go: Callable[[], None]) -> None:
        """Write what only the holder may write, and let go, unless it dies first."""
        self.judge.figures.held += 1
        self._write_fenced(name, key, created)
        hold: Nanos = self.rng.randrange(self.rng.choice(HOLD)) * MILLISECOND
        dies = happens(self.rng, DIES_PERMILLE)

        def end() -> None:
            if life == self._life:
                self._over(life)
                if not dies and not self.goal:
                    self._write_fenced(name, key, created)
                    let_go()

        self.after(hold, end)

    def _write_fenced(self, name: bytes, key: bytes, created: int) -> None:
        relation = rpc.Compare.EQUAL if created else rpc.Compare.GREATER
        compare = rpc.Compare(key=key, target=rpc.Compare.CREATE, result=relation, create_revision=created)
        fenced, value = FENCED + name, self.value()
        op = self.begin("cas", fenced, value)
        put = rpc.RequestOp(request_put=rpc.PutRequest(key=fenced, value=value))

        def done(answer: rpc.TxnResponse | Refused) -> None:
            if isinstance(answer, Refused):
                self.judge.fail(op, self.now, answer.happened)
            else:
                self.judge.wrote(op, self.now, answer.header.revision, answer.succeeded)

        self.ask(TXN, rpc.TxnRequest(compare=[compare], success=[put]), done)


def _ignore(_: object) -> None:
    """What became of it shows in the queue."""
