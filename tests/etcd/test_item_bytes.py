"""What is written by hand is what protobuf writes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from coterie.etcd.conversion import range_response
from coterie.etcd.item_bytes import encoded_only, encoded_range
from coterie.machine.kv.protocol import Item, RangeReply

NUMBERS = st.one_of(
    st.integers(1, 300), st.integers(1, (1 << 63) - 1), st.sampled_from((127, 128, 16383, 16384, 1 << 28))
)
LEASES = st.one_of(st.just(0), st.integers(-(1 << 63), (1 << 63) - 1))
ITEMS = st.builds(Item, st.binary(min_size=1, max_size=200), st.binary(max_size=300), NUMBERS, NUMBERS, NUMBERS, LEASES)


@given(items=st.lists(ITEMS, max_size=4), more=st.booleans(), count=st.one_of(st.just(0), NUMBERS))
def test_a_range_is_encoded_as_protobuf_encodes_it(items: list[Item], more: bool, count: int) -> None:
    reply = RangeReply(5, tuple(items), more, count)
    assert encoded_range(reply) == range_response(reply).SerializeToString(deterministic=True)


@given(item=ITEMS)
def test_the_answer_with_one_key_is_that_of_a_range_with_one_key(item: Item) -> None:
    assert encoded_only(item) == encoded_range(RangeReply(5, (item,), False, 1))


def test_a_value_of_two_mebibytes_is_encoded_whole() -> None:
    reply = RangeReply(5, (Item(b"k", b"v" * (2 << 20), 1, 1, 1),), False, 1)
    assert encoded_range(reply) == range_response(reply).SerializeToString()
