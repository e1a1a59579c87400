"""One number over all items: members with the same data have the same one (etcd's HashKV).

Each item is hashed for itself and the hashes are added, so the order does not matter: a store on disk gives its items
as they lie there. That takes one and a half to two seconds for a million items on a core, six where flushes have not
yet freed what a compaction left, and memory for one block; in that time the member does nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b

from coterie.machine.interface import Rejected
from coterie.machine.kv.blocks import blocks_from
from coterie.machine.kv.data import FIRST_REVISION, Data
from coterie.machine.kv.layer import Layer
from coterie.machine.kv.protocol import AskHash, HashReply, Item, encoder
from coterie.machine.kv.reading import refuse_revision
from coterie.machine.kv.records import find
from coterie.machine.stores.interface import Reading

_ADDEND_BYTES = 8
_HASH_BYTES = 4


def hash_items(data: Data, question: AskHash) -> HashReply | Rejected:
    """The hash of the items up to the revision that is asked for."""
    refused = refuse_revision(data, question.revision)
    if refused is not None:
        return refused
    last = question.revision if question.revision > 0 else data.revision
    return HashReply(data.revision, hash_of(data.in_any_order(), last), data.compacted)


def hash_of(items: Iterable[Item], last: int) -> int:
    """The hash of those of the items that are not above revision `last`."""
    encode, whole = encoder.encode, 0
    for item in items:
        if item.mod <= last:
            whole += int.from_bytes(blake2b(encode(item), digest_size=_ADDEND_BYTES).digest(), "big")
    whole &= (1 << 8 * _ADDEND_BYTES) - 1
    folded = blake2b(whole.to_bytes(_ADDEND_BYTES, "big"), digest_size=_HASH_BYTES).digest()
    return int.from_bytes(folded, "big")


def stored_items(
    view: Reading,
    layers: list[Layer],
    in_layers: Callable[[bytes, int], Item | None],
    compacted: int,
    swept: int,
) -> Iterator[Item]:
    """What `Data.items` gives, in the order in which it lies in the store, then in the layers above it.

    `in_layers`: a key's last item of at most a revision, if a layer has it. `swept`: what compaction left of
    revisions up to this one is no longer in the store.
    """
    first = max(compacted, FIRST_REVISION + 1)
    covered = any(layer.first <= compacted for layer in layers)
    for items in blocks_from(view, FIRST_REVISION):
        for item in items:
            if item.mod >= first:
                yield item
            elif item.version and not (covered and in_layers(item.key, compacted) is not None):
                place = find(view, item.key, compacted) if swept < compacted else item
                if place is not None and place.mod == item.mod:
                    yield item
    for layer in layers:
        for revision in range(layer.first, layer.first + len(layer.log)):
            for item in layer.event(revision):
                if item.mod >= first or (item.version and in_layers(item.key, compacted) is item):
                    yield item
