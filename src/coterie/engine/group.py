"""What the members of a group hold in common beyond commands: who they are, what version they may use,
and that their states are equal. Fed with applied entries and with what other members say."""

from __future__ import annotations

import msgspec

from coterie.core import quorum
from coterie.core.errors import CoterieError, SafetyViolation
from coterie.core.messages import StateDigest
from coterie.core.replica import Replica
from coterie.core.settings import Settings
from coterie.core.types import NOBODY, Entry, EntryKind, Index, Member, MemberId, Membership, Nanos, Role, Token
from coterie.engine.cluster_version import Supports
from coterie.engine.divergence import DivergenceCheck, Verdict
from coterie.engine.history import History
from coterie.engine.ports import Event, Ports

NEVER: Nanos = 1 << 62
ANNOUNCEMENT: Index = 0
"""The index of a `StateDigest` that only says which version its sender supports."""


class ProgramTooOld(CoterieError):
    """The cluster uses a version that this program does not know."""

    advice = "run the version of Coterie that the other members run, or a newer one, on this data directory"


class Group:
    """This member's part in what all members share."""

    def __init__(self, own: MemberId, version: int, replica: Replica, ports: Ports, history: History) -> None:
        """`version`: the newest cluster version that this program supports."""
        self._own = own
        self._replica = replica
        self._ports = ports
        self.history = history
        self._check = DivergenceCheck(own)
        self._supports = Supports(own, version)
        self._leader: MemberId = NOBODY
        self._proposed_version = 0
        self._look = False
        """Something was said or agreed on since the last `flush`."""
        self._expulsion_told = False

    # -- what was applied ----------------------------------------------------------------------

    def agreed(self, entry: Entry) -> None:
        """A membership or settings entry was applied. Raises `ProgramTooOld`."""
        self._look = True
        if entry.kind is EntryKind.MEMBERSHIP:
            self._member_change(msgspec.msgpack.decode(entry.payload, type=Membership))
        elif entry.kind is EntryKind.SETTINGS:
            self.must_support(msgspec.msgpack.decode(entry.payload, type=Settings))

    def must_support(self, settings: Settings) -> None:
        """Raises `ProgramTooOld` if the cluster's version is beyond this program: it would not understand
        what the others may write from here on."""
        if settings.version > self._supports.own_version:
            raise ProgramTooOld(
                f"the cluster uses version {settings.version}; this program supports up to {self._supports.own_version}"
            )

    def restored(self, membership: Membership, settings: Settings) -> None:
        """The state was replaced by a snapshot's."""
        self._look = True
        self.must_support(settings)
        self._member_change(membership)

    def _member_change(self, membership: Membership) -> None:
        before = self.history.membership
        for member in self.history.applied(membership):
            if member.id != self._own:
                self._ports.removed(member)
        if _weights(before) != _weights(membership):
            self._ports.event(Event("membership", _told(membership)))

    def state(self, index: Index, digest: bytes) -> None:
        """This member's state after `index`, an index at which all compare theirs."""
        self._look = True
        self._check.tell(self._own, index, digest)
        word = StateDigest(index, digest, self._supports.own_version)
        for member in self.history.membership.others(self._own):
            self._ports.send(member, word)

    # -- what was said -------------------------------------------------------------------------

    def received(self, sender: MemberId, word: StateDigest) -> None:
        """Another member's word. Strangers' words are dropped."""
        if self._replica.membership.member(sender) is None:
            return
        self._look = True
        self._supports.tell(sender, word.supports)
        if word.index != ANNOUNCEMENT:
            self._check.tell(sender, word.index, word.digest)

    def leader_changed(self, leader: MemberId) -> None:
        """Tell a new leader what this program supports."""
        self._look = True
        if leader not in (NOBODY, self._own, self._leader):
            self._ports.send(leader, StateDigest(ANNOUNCEMENT, b"", self._supports.own_version))
        self._leader = leader

    # -- what follows --------------------------------------------------------------------------

    def flush(self, now: Nanos, token: Token) -> bool:
        """Judge what was said; returns whether a change of the version was asked of the replica under `token`.

        Raises `SafetyViolation` if this member's state is the odd one.
        """
        if not self._look and now < self._check.waits:
            return False
        self._look = False
        verdict = self._check.judge(now, self.history.membership)
        if verdict is not None:
            self._diverged(verdict)
        if self.expelled and not self._expulsion_told:
            self._expulsion_told = True
            self._ports.removed(self.history.own_member or Member(self._own, f"{self._own:016x}", "", ""))
        return self._raise_version(now, token)

    @property
    def expelled(self) -> bool:
        """This member was removed, and nothing is left for it to do. (A leader that removes itself leads until
        it has handed over.)"""
        return self._replica.removed or (self.history.expelled and self._replica.role is not Role.LEADER)

    def _raise_version(self, now: Nanos, token: Token) -> bool:
        replica = self._replica
        if replica.role is not Role.LEADER or replica.membership != self.history.membership:
            return False
        settings = replica.settings
        version = self._supports.next_version(settings.version, replica.membership)
        if version is None or version == self._proposed_version:
            return False
        self._proposed_version = version
        text = f"every member supports cluster version {version}: raised from {settings.version}"
        self._ports.event(Event("cluster-version", text, {"version": version}))
        replica.change_settings(now, token, msgspec.structs.replace(settings, version=version))
        return True

    def version_refused(self) -> None:
        """The change of the version was not taken: it is asked for again when something was said or agreed on."""
        self._proposed_version = 0

    def _diverged(self, verdict: Verdict) -> None:
        names = ", ".join(self._name(member) for member in verdict.odd)
        evidence = f"state hashes after entry {verdict.index}: {verdict.evidence}"
        if not verdict.own_is_odd:
            text = (
                f"diverged: {names} holds another state than the majority, and stops; {evidence}. Keep its data "
                "directory as evidence, remove it from the cluster, and add it again with an empty one"
            )
            self._ports.event(Event("alarm", text))
            return
        if verdict.majority:
            advice = (
                "keep this data directory as evidence; `coterie member remove` this member, then `coterie member add` "
                "it and start it with an empty directory. Is the machine deterministic, the memory sound?"
            )
        else:
            advice = (
                "no majority of the voters agrees, so nobody knows which state is right, and every member that sees "
                "this stops. Keep all data directories; find out which member is right (is the machine deterministic? "
                "is the memory sound?) before one is started again"
            )
        self._ports.event(Event("alarm", f"diverged: {evidence}. {advice}"))
        raise SafetyViolation(f"this member's state differs from the others': {evidence}", advice=advice)

    def _name(self, member: MemberId) -> str:
        known = self.history.membership.member(member)
        return known.name if known is not None else f"{member:016x}"

    def deadline(self) -> Nanos:
        """When `flush` has something to do without any input."""
        return self._check.waits


def _weights(membership: Membership) -> tuple[object, ...]:
    return membership.voters, membership.learners, membership.phase_1, membership.phase_2


def _told(membership: Membership) -> str:
    """A membership for people."""
    names = {member.id: member.name for member in membership.members}

    def listed(ids: tuple[MemberId, ...]) -> str:
        return ", ".join(sorted(names.get(id, f"{id:016x}") for id in ids))

    text = f"voters: {listed(membership.voters)}"
    if membership.outgoing:
        text = f"{text}; joint with: {listed(membership.outgoing)}"
    if membership.phase_1 or membership.phase_2:
        text = f"{text}; quorums: {quorum.in_words(membership.phase_1, membership.phase_2)}"
    return f"{text}; learners: {listed(membership.learners)}" if membership.learners else text
