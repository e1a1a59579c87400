"""The administrator's vocabulary: members, leadership, settings. As `calls`, for what the leader does.

A change may be repeated safely: the client marks a further attempt, and one that finds itself done is
done. Every failure says whether it happened. Beyond the errors of `coterie.client.errors`, `NotNow` and
`UnsafeChange` say why a change was refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from coterie.client.calls import Call, MalformedReply
from coterie.client.config import DEFAULT_TIMEOUT_SECONDS
from coterie.core.settings import Settings
from coterie.core.types import MemberId
from coterie.engine.admin_requests import (
    ANYBODY,
    AddedMember,
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
    NewMember,
    QuorumSizes,
    TransferLeadership,
)
from coterie.engine.protocol import Answer

T = TypeVar("T")


def _decoder(kind: type[T]) -> Callable[[Answer], T]:
    decode = msgspec.msgpack.Decoder(kind).decode

    def read(answer: Answer) -> T:
        try:
            return decode(answer.body)
        except msgspec.MsgspecError as problem:
            raise MalformedReply(f"the answer is not the one to this request ({problem})") from problem

    return read


_list = _decoder(MemberList)
_changed = _decoder(MembersChanged)
_settings = _decoder(Settings)
_quorums = _decoder(QuorumSizes)
_name = _decoder(str)


def _members(answer: Answer) -> tuple[MemberInfo, ...]:
    return _list(answer).members


def _added(answer: Answer) -> AddedMember:
    added = _changed(answer).added
    if not added:
        raise MalformedReply("the answer names no added member")
    return added[0]


def _nothing(answer: Answer) -> None:
    return None


def _call(request: AdminRequest, decode: Callable[[Answer], T], timeout: float) -> Call[T]:
    return Call(b"", decode, False, timeout, admin=request)


def members(*, timeout: float = DEFAULT_TIMEOUT_SECONDS) -> Call[tuple[MemberInfo, ...]]:
    """The members as the leader knows them: role, how far behind, whether healthy."""
    return _call(AskMembers(0), _members, timeout)


def member_list(*, timeout: float = DEFAULT_TIMEOUT_SECONDS) -> Call[MemberList]:
    """As `members`, with the cluster's id and what it runs."""
    return _call(AskMembers(0), _list, timeout)


def add_member(
    name: str, peer: str, client: str = "", *, timeout: float = DEFAULT_TIMEOUT_SECONDS
) -> Call[AddedMember]:
    """Add a learner; addresses are `host:port`. The answer has the id that was minted for it.

    Start it with `coterie node --join`, wait until it has caught up, then promote it.
    """
    return _call(ChangeMembers(0, add=(NewMember(name, peer, client),)), _added, timeout)


def promote(name: str, *, force: bool = False, timeout: float = DEFAULT_TIMEOUT_SECONDS) -> Call[MembersChanged]:
    """Make a learner that has caught up a voter; with `force` one that has not, too (`warning` says the risk)."""
    return _call(ChangeMembers(0, promote=(name,), force=force), _changed, timeout)


def remove(name: str, *, timeout: float = DEFAULT_TIMEOUT_SECONDS) -> Call[MembersChanged]:
    """Remove a member: it is told, and ends. Its id never comes back."""
    return _call(ChangeMembers(0, remove=(name,)), _changed, timeout)


def replace(
    old: str, new: str, *, force: bool = False, timeout: float = DEFAULT_TIMEOUT_SECONDS
) -> Call[MembersChanged]:
    """In one change: the learner `new`, which has caught up, becomes a voter, and `old` is removed."""
    return _call(ChangeMembers(0, promote=(new,), remove=(old,), force=force), _changed, timeout)


def change_members(change: ChangeMembers, *, timeout: float = DEFAULT_TIMEOUT_SECONDS) -> Call[MembersChanged]:
    """Any number of members added, promoted and removed, in one change: all of it, or nothing."""
    return _call(change, _changed, timeout)


def claim(member: MemberId, claim: int, client: str, *, timeout: float = DEFAULT_TIMEOUT_SECONDS) -> Call[None]:
    """A data directory that joins claims its id (see `ClaimMember`)."""
    return _call(ClaimMember(0, member, claim, client), _nothing, timeout)


def transfer(name: str = ANYBODY, *, timeout: float = DEFAULT_TIMEOUT_SECONDS) -> Call[str]:
    """Make the member of this name the leader (without a name: the most advanced voter); returns who it is."""
    return _call(TransferLeadership(0, name), _name, timeout)


def settings(*, timeout: float = DEFAULT_TIMEOUT_SECONDS) -> Call[Settings]:
    """What all members share: the settings in force."""
    return _call(AskSettings(0), _settings, timeout)


def set_setting(name: str, value: str | int | bool, *, timeout: float = DEFAULT_TIMEOUT_SECONDS) -> Call[Settings]:
    """Change one setting for all members; returns all of them as they then are."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return _call(ChangeSetting(0, name, text), _settings, timeout)


def quorum_sizes(*, timeout: float = DEFAULT_TIMEOUT_SECONDS) -> Call[QuorumSizes]:
    """How many voters elect, and how many commit."""
    return _call(AskQuorums(0), _quorums, timeout)


def set_quorum_sizes(
    *, phase_1: int | None = None, phase_2: int | None = None, timeout: float = DEFAULT_TIMEOUT_SECONDS
) -> Call[QuorumSizes]:
    """Change how many voters elect (`phase_1`) and commit (`phase_2`); 0: a majority. The one that is not given stays,
    or becomes the least that does with the other; `note` says so. `UnsafeChange` if quorums would not meet."""
    return _call(ChangeQuorums(0, phase_1, phase_2), _quorums, timeout)
