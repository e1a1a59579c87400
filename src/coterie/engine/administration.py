"""Administrators' requests on their way: to the replica, and back when what they changed is committed.

Only a leader carries them out, and only once an entry of its own epoch is committed: before that it
may not change the membership (a change under way may be in a predecessor's log only; see the erratum to
the dissertation's 4.1), and it would have to refuse what an instant later is right. A change of the
membership is answered when no joint configuration is left of it, and only then.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable

import msgspec

from coterie.core.errors import ConfigurationError
from coterie.core.replica import Accepted, Outcome, Refusal, Refused, Replica, Transferred
from coterie.core.types import NOBODY, Entry, Epoch, Index, MemberId, MembershipChange, Nanos, Role, Token
from coterie.engine.admin_requests import (
    ANYBODY,
    AdminRequest,
    AskMembers,
    AskQuorums,
    AskSettings,
    ChangeMembers,
    ChangeQuorums,
    ChangeSetting,
    ClaimMember,
    MemberInfo,
    MemberList,
    MembersChanged,
    QuorumSizes,
    TransferLeadership,
)
from coterie.engine.history import History
from coterie.engine.member_changes import AlreadyDone, BadChange, Plan, member_named, plan_change, plan_claim
from coterie.engine.ports import Event, Ports
from coterie.engine.protocol import Answer, Failure, FailureCode, Happened, encoder
from coterie.engine.quorum_sizes import changed, hold, sizes_of
from coterie.engine.setting_values import with_setting

NEVER: Nanos = 1 << 62
ADMIN_REQUESTS = (
    ChangeMembers,
    ClaimMember,
    TransferLeadership,
    ChangeSetting,
    ChangeQuorums,
    AskMembers,
    AskSettings,
    AskQuorums,
)
"""Every type of an administrator's request, for `isinstance`."""
_CODES = {
    Refusal.NO_LEADER: FailureCode.NO_LEADER,
    Refusal.NOT_LEADER: FailureCode.NOT_LEADER,
    Refusal.OVERLOADED: FailureCode.OVERLOADED,
    Refusal.NO_SPACE: FailureCode.NO_SPACE,
    Refusal.NOT_VOTER: FailureCode.NOT_MEMBER,
    Refusal.UNSAFE: FailureCode.UNSAFE,
    Refusal.NOT_NOW: FailureCode.NOT_NOW,
    Refusal.INVALID: FailureCode.INVALID,
    Refusal.TRANSFER_FAILED: FailureCode.NOT_NOW,
}
_WORDS = {
    Refusal.OVERLOADED: "too much is waiting to be committed",
    Refusal.NO_SPACE: "the leader's disk is full",
    Refusal.NOT_NOW: "another change is under way",
    Refusal.TRANSFER_FAILED: "the chosen member did not take over in time; leadership stays where it is",
}

_LOOK = "see `coterie member list` and `coterie settings list`"


class _Asked(msgspec.Struct):
    """A request that has no answer yet."""

    client: object
    request: AdminRequest
    deadline: Nanos
    body: bytes = b""
    """What to answer when it is done."""
    index: Index = 0
    """Where its entry stands; 0: not accepted yet."""
    payload: bytes = b""
    """Of that entry."""
    sizes: QuorumSizes | None = None
    """Quorum sizes before they change."""


class Administration:
    """What administrators wait for."""

    def __init__(
        self,
        *,
        cluster: int,
        member: MemberId,
        protocol: str,
        machine: str,
        timeout: Nanos,
        election_timeout: Nanos,
        replica: Replica,
        ports: Ports,
        rng: random.Random,
        new_token: Callable[[], Token],
        history: History,
    ) -> None:
        self._cluster = cluster
        self._own = member
        self._protocol = protocol
        self._machine = machine
        self._timeout = timeout
        self._election_timeout = election_timeout
        self._replica = replica
        self._ports = ports
        self._rng = rng
        self._new_token = new_token
        self._history = history
        self._queue: deque[_Asked] = deque()
        self._asked: dict[Token, _Asked] = {}
        self._accepted: list[_Asked] = []

    @property
    def count(self) -> int:
        """Requests without an answer."""
        return len(self._queue) + len(self._asked) + len(self._accepted)

    @property
    def queued(self) -> bool:
        """Whether a request waits to be begun."""
        return bool(self._queue)

    @property
    def waits_for_entry(self) -> bool:
        """Whether a request's entry is in the log and not applied."""
        return bool(self._accepted)

    def take(self, now: Nanos, client: object, request: AdminRequest) -> None:
        """A request arrived."""
        self._queue.append(_Asked(client, request, now + self._timeout))

    def dispatch(self, now: Nanos, applied_epoch: Epoch) -> None:
        """Begin what can be begun. `applied_epoch`: of the newest entry that was applied."""
        if not self._queue:
            return
        if self._replica.role is not Role.LEADER:
            while self._queue:
                asked = self._queue.popleft()
                if not self._claimed_already(asked):
                    self._not_leader(asked)
        elif applied_epoch == self._replica.epoch:
            waiting, self._queue = self._queue, deque()
            for asked in waiting:
                self._begin(now, asked)

    # -- beginning ---------------------------------------------------------------------------

    def _begin(self, now: Nanos, asked: _Asked) -> None:
        request = asked.request
        if isinstance(request, ChangeMembers):
            self._change(now, asked, request.again, plan_change(self._replica.membership, request, self._rng))
        elif isinstance(request, ClaimMember):
            self._change(now, asked, True, plan_claim(self._replica.membership, request))
        elif isinstance(request, TransferLeadership):
            self._transfer(now, asked, request)
        elif isinstance(request, ChangeSetting):
            self._set(now, asked, request)
        elif isinstance(request, AskMembers):
            self._answer(asked, encoder.encode(self.members(now)))
        elif isinstance(request, ChangeQuorums):
            self._resize(now, asked, request)
        elif isinstance(request, AskQuorums):
            self._answer(asked, encoder.encode(sizes_of(self._history.membership)))
        else:
            self._answer(asked, encoder.encode(self._replica.settings))

    def _claimed_already(self, asked: _Asked) -> bool:
        """Whether this asks for a claim that is agreed on, as far as this member has applied: then it is answered here.
        Who was made a voter before it heard that may be one without whom no leader can be elected."""
        if not isinstance(asked.request, ClaimMember):
            return False
        plan = plan_claim(self._history.membership, asked.request)
        if not isinstance(plan, AlreadyDone):
            return False
        self._answer(asked, encoder.encode(plan.done))
        return True

    def _change(self, now: Nanos, asked: _Asked, again: bool, plan: Plan) -> None:
        if isinstance(plan, BadChange):
            code = FailureCode.NOT_NOW if plan.later else FailureCode.INVALID
            self._fail(asked, code, Happened.NO, plan.problem)
            return
        if again and self._replica.membership != self._history.membership:
            # An earlier attempt may be what is under way: its outcome is this one's.
            self._queue.append(asked)
            return
        if isinstance(plan, AlreadyDone):
            self._answer(asked, encoder.encode(plan.done))
            return
        warning = self._warning(now, plan.change.promote) if plan.change.force else ""
        if warning:
            self._ports.event(Event("forced-change", warning))
        asked.body = encoder.encode(MembersChanged(plan.done.added, warning))
        self._replica.change_membership(now, self._ask(asked), plan.change)

    def _warning(self, now: Nanos, promoted: tuple[MemberId, ...]) -> str:
        progress = {p.id: p for p in self._replica.progress(now)}
        behind = [
            f"{self._name(member)} ({self._replica.last_index - progress[member].match} entries behind)"
            for member in promoted
            if member in progress and not progress[member].caught_up
        ]
        if not behind:
            return ""
        return (
            f"promoted by force before it had caught up: {', '.join(behind)}. Until it has, the cluster bears one "
            "failure less than its number of voters says, and writes may stop"
        )

    def _transfer(self, now: Nanos, asked: _Asked, request: TransferLeadership) -> None:
        to = NOBODY
        if request.to != ANYBODY:
            membership = self._replica.membership
            member = member_named(membership, request.to)
            if member is None:
                names = ", ".join(m.name for m in membership.members)
                text = f"no member is called {request.to!r}; the members are {names}"
                self._fail(asked, FailureCode.INVALID, Happened.NO, text)
                return
            if member.id == self._own:
                self._answer(asked, encoder.encode(member.name))
                return
            to = member.id
        self._replica.transfer_leadership(now, self._ask(asked), to)

    def hand_over(self, now: Nanos) -> bool:
        """This member is about to stop: let the most advanced voter lead, if it can. Returns whether that began."""
        others = [voter for voter in self._replica.membership.voters if voter != self._own]
        if self._replica.role is not Role.LEADER or not others:
            return False
        asked = _Asked(None, TransferLeadership(0, ANYBODY), now + self._timeout)
        self._replica.transfer_leadership(now, self._ask(asked), NOBODY)
        return True

    def _set(self, now: Nanos, asked: _Asked, request: ChangeSetting) -> None:
        held = self._replica.settings
        try:
            settings = with_setting(held, request.name, request.value)
        except ConfigurationError as error:
            self._fail(asked, FailureCode.INVALID, Happened.NO, str(error))
            return
        changed = msgspec.structs.replace(settings, serial=held.serial + (settings != held))
        asked.body = encoder.encode(changed)
        if settings == held:
            self._answer(asked, asked.body)
        else:
            self._replica.change_settings(now, self._ask(asked), settings)

    def _resize(self, now: Nanos, asked: _Asked, request: ChangeQuorums) -> None:
        membership = self._replica.membership
        if membership != self._history.membership:
            # An earlier attempt may be what is under way: its outcome is this one's.
            self._queue.append(asked)
        elif hold(membership, request):
            self._answer(asked, encoder.encode(sizes_of(membership)))
        else:
            asked.sizes = sizes_of(membership)
            change = MembershipChange(phase_1=request.phase_1, phase_2=request.phase_2)
            self._replica.change_membership(now, self._ask(asked), change)

    def _ask(self, asked: _Asked) -> Token:
        token = self._new_token()
        self._asked[token] = asked
        return token

    # -- outcomes ----------------------------------------------------------------------------

    def outcome(self, outcome: Outcome) -> bool:
        """What the replica said. Returns False if it is not about a request of an administrator."""
        asked = self._asked.pop(outcome.token, None)
        if asked is None:
            return False
        if isinstance(outcome, Accepted):
            asked.index, asked.payload = outcome.index, outcome.payload
            self._accepted.append(asked)
        elif isinstance(outcome, Transferred):
            self._answer(asked, encoder.encode(self._name(outcome.leader)))
        elif isinstance(outcome, Refused):
            self._refused(asked, outcome)
        else:
            text = f"leadership was lost on the way; for what holds now {_LOOK}"
            self._fail(asked, FailureCode.LEADER_LOST, Happened.UNKNOWN, text)
        return True

    def _refused(self, asked: _Asked, refused: Refused) -> None:
        if refused.reason in (Refusal.NOT_LEADER, Refusal.NO_LEADER):
            self._not_leader(asked)
            return
        text = refused.detail or _WORDS.get(refused.reason, refused.reason.name.lower().replace("_", " "))
        self._fail(asked, _CODES[refused.reason], Happened.NO, text)

    def applied(self, entry: Entry) -> None:
        """An entry was applied: answer those whose change is committed, and those whose entry another leader's
        replaced."""
        joint = bool(self._history.membership.outgoing)
        waiting, self._accepted = self._accepted, []
        for asked in waiting:
            if entry.index == asked.index and entry.payload != asked.payload:
                text = "the change was lost with a leader and has not happened"
                self._fail(asked, FailureCode.LEADER_LOST, Happened.NO, text)
            elif entry.index < asked.index or (joint and not isinstance(asked.request, ChangeSetting)):
                self._accepted.append(asked)
            elif asked.sizes is not None and isinstance(asked.request, ChangeQuorums):
                done = changed(asked.sizes, self._history.membership, asked.request)
                self._answer(asked, encoder.encode(done))
            else:
                self._answer(asked, asked.body)

    def restored(self) -> None:
        """The state was replaced by a snapshot's: the entries up to it are never seen here."""
        waiting, self._accepted = self._accepted, []
        for asked in waiting:
            text = f"this member fell behind before the change was committed; {_LOOK}"
            self._fail(asked, FailureCode.LEADER_LOST, Happened.UNKNOWN, text)

    # -- answering ---------------------------------------------------------------------------

    def _answer(self, asked: _Asked, body: bytes) -> None:
        if asked.client is not None:
            self._ports.reply(asked.client, Answer(asked.request.id, 0, 0, body))

    def _fail(self, asked: _Asked, code: FailureCode, happened: Happened, text: str, leader: MemberId = NOBODY) -> None:
        if asked.client is not None:
            self._ports.reply(asked.client, Failure(asked.request.id, code, happened, text, leader))

    def _not_leader(self, asked: _Asked) -> None:
        leader = self._replica.leader
        if leader in (NOBODY, self._own):
            text = "no leader is known at present; nothing was changed"
            self._fail(asked, FailureCode.NO_LEADER, Happened.NO, text)
            return
        member = self._replica.membership.member(leader)
        where = f" (clients reach it at {member.client})" if member is not None and member.client else ""
        text = f"only the leader can do this: {self._name(leader)}{where}"
        self._fail(asked, FailureCode.NOT_LEADER, Happened.NO, text, leader)

    def _name(self, member: MemberId) -> str:
        known = self._replica.membership.member(member)
        return known.name if known is not None else f"{member:016x}"

    def expire(self, now: Nanos) -> None:
        """Give up what has waited too long."""
        if not self.count:
            return
        for asked in [asked for asked in self._queue if asked.deadline <= now]:
            self._queue.remove(asked)
            text = "the leader did not get that far in time; nothing was changed"
            self._fail(asked, FailureCode.TIMEOUT, Happened.NO, text)
        late = [token for token, asked in self._asked.items() if asked.deadline <= now]
        unknown = [self._asked.pop(token) for token in late]
        unknown += [asked for asked in self._accepted if asked.deadline <= now]
        self._accepted = [asked for asked in self._accepted if asked.deadline > now]
        for asked in unknown:
            text = f"no quorum confirmed it in time; it may still happen: {_LOOK}"
            self._fail(asked, FailureCode.TIMEOUT, Happened.UNKNOWN, text)

    def deadline(self) -> Nanos:
        """When the first is to be given up; far away if none waits."""
        if not (self._queue or self._asked or self._accepted):
            return NEVER
        return min(asked.deadline for asked in (*self._queue, *self._asked.values(), *self._accepted))

    # -- looking -----------------------------------------------------------------------------

    def members(self, now: Nanos) -> MemberList:
        """The members, as a leader knows them."""
        replica = self._replica
        membership = replica.membership
        progress = {p.id: p for p in replica.progress(now)}
        voters = {*membership.voters, *membership.outgoing}
        found = []
        for member in membership.members:
            known = progress.get(member.id)
            own = member.id == self._own
            voter = member.id in voters
            found.append(
                MemberInfo(
                    name=member.name,
                    id=member.id,
                    role="leader" if own else "follower" if voter else "learner",
                    voter=voter,
                    caught_up=own or (known is not None and known.caught_up),
                    behind=0 if own else max(0, replica.last_index - (known.match if known is not None else 0)),
                    peer=member.peer,
                    client=member.client,
                    healthy=own or (known is not None and 0 <= now - known.heard_at <= self._election_timeout),
                    claimed=voter or member.claim != 0,
                    repairing=known is not None and known.mode == "repair",
                )
            )
        return MemberList(self._cluster, self._protocol, replica.leader, tuple(found), self._machine)
