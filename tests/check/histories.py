"""Random histories for the laws: of each object, small enough for the brute force; and large ones that are right."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from coterie.check import (
    CAS_REGISTER,
    FOREVER,
    KEY_VALUE,
    KV_REVISIONS,
    LOCK,
    QUEUE,
    REGISTER,
    SET,
    Model,
    Operation,
    record,
)

Fields = dict[str, Any]

small = st.integers(1, 2)
truth = st.booleans()
read = st.fixed_dictionaries({"f": st.just("read"), "result": st.sampled_from([None, 1, 2])})
write = st.fixed_dictionaries({"f": st.just("write"), "argument": small})
cas = st.fixed_dictionaries({"f": st.just("cas"), "argument": st.tuples(small, small), "result": truth})
word = st.sampled_from(["a", "b"])
key = st.sampled_from("xy")
part = st.tuples(st.sampled_from(["r", "w"]), key, st.sampled_from(["", "a", "b"]))
revision = st.integers(0, 3)

OBJECTS: dict[str, tuple[Model, st.SearchStrategy[Fields]]] = {
    "register": (REGISTER, st.one_of(read, write)),
    "cas-register": (CAS_REGISTER, st.one_of(read, write, cas)),
    "key-value": (
        KEY_VALUE,
        st.one_of(
            st.fixed_dictionaries({"f": st.sampled_from(["put", "append"]), "key": key, "argument": word}),
            st.fixed_dictionaries(
                {"f": st.just("get"), "key": key, "result": st.sampled_from(["", "a", "b", "ab", "ba"])}
            ),
            st.tuples(part, part).map(lambda parts: {"f": "txn", "argument": parts, "result": parts}),
        ),
    ),
    "kv-revisions": (
        KV_REVISIONS,
        st.one_of(
            st.builds(
                lambda key, value, at: {"f": "put", "key": key, "argument": value, "result": record(revision=at)},
                key, word, revision,
            ),
            st.builds(
                lambda key, value, at, mod: {
                    "f": "get", "key": key, "result": record(value=value, revision=at, mod=mod),
                },
                key, st.one_of(st.none(), word), revision, revision,
            ),
            st.builds(
                lambda key, count, at: {"f": "delete", "key": key, "result": record(deleted=count, revision=at)},
                key, st.integers(0, 1), revision,
            ),
            st.builds(
                lambda key, old, new, took, at: {
                    "f": "cas", "key": key, "argument": (old, new), "result": record(succeeded=took, revision=at),
                },
                key, st.one_of(st.none(), word), word, truth, revision,
            ),
        ),
    ),
    "queue": (
        QUEUE,
        st.one_of(
            st.fixed_dictionaries({"f": st.just("enqueue"), "argument": st.integers(1, 3)}),
            st.fixed_dictionaries({"f": st.just("dequeue"), "result": st.sampled_from([None, 1, 2, 3])}),
        ),
    ),
    "set": (
        SET,
        st.one_of(
            st.fixed_dictionaries({"f": st.sampled_from(["add", "remove"]), "argument": small}),
            st.fixed_dictionaries({"f": st.just("contains"), "argument": small, "result": truth}),
            st.fixed_dictionaries({"f": st.just("read"), "result": st.sampled_from([(), (1,), (2,), (1, 2)])}),
        ),
    ),
    "lock": (LOCK, st.fixed_dictionaries({"f": st.sampled_from(["acquire", "release"]), "result": truth})),
}  # fmt: skip


@st.composite
def histories(draw: st.DrawFn, fields: st.SearchStrategy[Fields], most: int = 6, processes: int = 3) -> list[Operation]:
    """Processes that call one operation at a time; some outcomes are unknown."""
    free_from = dict.fromkeys(range(processes), 0)
    made: list[Operation] = []
    for called in draw(st.lists(fields, min_size=1, max_size=most)):
        process = draw(st.integers(0, processes - 1))
        start = free_from[process] + draw(st.integers(0, 3))
        end = start + draw(st.integers(0, 4))
        free_from[process] = end + 1
        unknown = draw(st.integers(0, 4)) == 0
        made.append(Operation(process=process, start=start, end=FOREVER if unknown else end, **called))
    return sorted(made, key=lambda operation: operation.start)


def recorded(
    seed: int, count: int, clients: int, call: Callable[[random.Random, int], Fields], unknown: float = 0.0
) -> list[Operation]:
    """What clients of one real register see, each operation at some moment between its start and its end."""
    dice = random.Random(seed)
    value: object = None
    idle = list(range(clients))
    under_way: list[dict[str, Any]] = []
    made: list[Operation] = []
    called = moment = 0
    while called < count or under_way:
        moment += 1
        if called < count and idle and dice.random() < 0.5:
            under_way.append({"process": idle.pop(dice.randrange(len(idle))), "start": moment, **call(dice, called)})
            called += 1
        elif under_way:
            chosen = dice.choice(under_way)
            if not chosen.get("done"):
                chosen["done"] = True
                value, chosen["result"] = _done(chosen, value)
            else:
                under_way.remove(chosen)
                lost = dice.random() < unknown
                clients += lost
                idle.append(clients - 1 if lost else chosen["process"])
                fields = {name: chosen.get(name) for name in ("process", "f", "argument", "result")}
                made.append(Operation(**fields, start=chosen["start"], end=FOREVER if lost else moment))  # type: ignore[arg-type]  # a dict of fields
    return sorted(made, key=lambda operation: operation.start)


def _done(called: dict[str, Any], value: object) -> tuple[object, object]:
    """The register's next value, and the answer."""
    if called["f"] == "read":
        return value, value
    if called["f"] == "write":
        return called["argument"], None
    expected, new = called["argument"]
    return (new, True) if value == expected else (value, False)
