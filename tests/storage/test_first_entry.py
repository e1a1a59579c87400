"""The first entry, and the cluster id made from it."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.core.errors import ConfigurationError
from coterie.core.types import NO_EPOCH, EntryKind, Member, Membership
from coterie.storage.first_entry import cluster_id, first_entry

A = Member(9, "a", "h:1", "h:2")
B = Member(5, "b", "h:3", "h:4")
C = Member(2**64 - 1, "c", "h:5", "h:6")


def test_every_member_makes_the_same_entry_whatever_the_order() -> None:
    entries = {first_entry(order) for order in itertools.permutations((A, B, C))}
    assert len(entries) == 1
    (entry,) = entries
    assert (entry.index, entry.epoch, entry.kind, entry.elapsed) == (1, NO_EPOCH, EntryKind.MEMBERSHIP, 0)
    assert msgspec.msgpack.decode(entry.payload, type=Membership) == Membership((B, A, C), (5, 9, 2**64 - 1))


def test_the_bytes_of_the_first_entry_never_change() -> None:
    """A cluster's id is made from them: a member of another version must find the same."""
    assert cluster_id(first_entry((A, B, C))) == 0x4F8F8AA075B563A7


@given(st.sets(st.integers(1, 2**64 - 1), min_size=1, max_size=7), st.integers(0, 6))
def test_the_cluster_id_has_64_bits_and_tells_sets_apart(ids: set[int], changed: int) -> None:
    members = [Member(member, f"n{member}", f"h:{i}", "") for i, member in enumerate(sorted(ids))]
    cluster = cluster_id(first_entry(members))
    assert 0 < cluster < 2**64
    at = changed % len(members)
    members[at] = msgspec.structs.replace(members[at], peer="elsewhere:1")
    assert cluster_id(first_entry(members)) != cluster


@pytest.mark.parametrize(
    ("members", "rule"),
    [
        ((), "at least one"),
        ((A, Member(9, "z", "h:7", "h:8")), "must differ"),
        ((A, Member(7, "a", "h:7", "h:8")), "names"),
        ((A, Member(0, "z", "h:7", "h:8")), "none may be 0"),
    ],
)
def test_a_set_that_cannot_be_a_cluster_is_refused(members: tuple[Member, ...], rule: str) -> None:
    with pytest.raises(ConfigurationError, match=rule):
        first_entry(members)
