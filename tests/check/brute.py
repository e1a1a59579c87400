"""The definitions themselves, tried one by one: what the checkers must agree with on small histories."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, combinations, permutations, product

from coterie.check import Model, Operation
from coterie.check.models.cells import Access
from coterie.check.models.model import IMPOSSIBLE, State
from coterie.check.views import Guarantee


def linearizable(history: Sequence[Operation], model: Model) -> bool:
    """Every order that respects real time, with every choice of what of unknown outcome took effect."""
    steps = [action.step for action in model.actions(history)]

    def follows(done: frozenset[int], state: State) -> bool:
        left = [one for one in range(len(history)) if one not in done]
        if not any(history[one].known for one in left):
            return True
        for one in left:
            if any(history[other].end < history[one].start for other in left):
                continue
            after = steps[one](state)
            if after is not IMPOSSIBLE and follows(done | {one}, after):
                return True
        return False

    return any(follows(frozenset(), state) for state in model.initials(history))


def sequential(history: Sequence[Operation], model: Model) -> bool:
    """Every order that respects the order of each process; what of unknown outcome took effect may come late."""
    steps = [action.step for action in model.actions(history)]
    known = [place for place, operation in enumerate(history) if operation.known]
    unknown = [place for place, operation in enumerate(history) if not operation.known]
    for happened in subsets(unknown):
        for order in permutations([*known, *happened]):
            if not all(_in_order(history, one, two) for one, two in combinations(order, 2)):
                continue
            for state in model.initials(history):
                for place in order:
                    state = steps[place](state)
                    if state is IMPOSSIBLE:
                        break
                else:
                    return True
    return False


def guaranteed(history: Sequence[Operation], model: Model, guarantee: Guarantee) -> bool:
    """By the definitions of docs/check.md, over cells."""
    accesses = model.accesses(history)
    assert accesses is not None
    reads = [
        (place, cell, value) for place, a in enumerate(accesses) if history[place].known for cell, value in a.reads
    ]
    choices: list[list[int | None]] = []
    for place, cell, value in reads:
        writers: list[int | None] = [w for w, a in enumerate(accesses) if w != place and (cell, value) in a.writes]
        choices.append([*writers, None] if value == model.blank else writers)
    for chosen in product(*choices):
        sources = {(place, cell): source for (place, cell, _), source in zip(reads, chosen, strict=True)}
        if _holds(history, accesses, sources, guarantee):
            return True
    return False


_Sources = dict[tuple[int, object], int | None]


def _holds(history: Sequence[Operation], accesses: list[Access], sources: _Sources, guarantee: Guarantee) -> bool:
    processes = {operation.process for operation in history}
    if guarantee in (Guarantee.PRAM, Guarantee.CAUSAL):
        return all(_has_view(history, accesses, sources, process, guarantee) for process in processes)
    return all(_sees(history, accesses, sources, process, guarantee) for process in processes)


def _has_view(
    history: Sequence[Operation], accesses: list[Access], sources: _Sources, process: object, guarantee: Guarantee
) -> bool:
    """One order of all writes that happened and the process's own operations, legal for its reads."""
    before = {(one, two) for one in range(len(history)) for two in range(len(history)) if _precedes(history, one, two)}
    if guarantee is Guarantee.CAUSAL:
        before |= {(source, place) for (place, _), source in sources.items() if source is not None}
        before = _closed(before)
        if any(one == two for one, two in before):
            return False
    used = {source for source in sources.values() if source is not None}
    mine = {place for place, operation in enumerate(history) if operation.process == process and operation.known}
    wrote = {p for p, a in enumerate(accesses) if a.writes and (history[p].known or p in used)}
    for order in permutations(sorted(mine | wrote)):
        position = {place: number for number, place in enumerate(order)}
        if any(one in position and two in position and position[one] > position[two] for one, two in before):
            continue
        cells: dict[object, int | None] = {}
        for place in order:
            if place in mine and any(cells.get(cell) != sources[place, cell] for cell, _ in accesses[place].reads):
                break
            cells |= dict.fromkeys((cell for cell, _ in accesses[place].writes), place)
        else:
            return True
    return False


def _sees(
    history: Sequence[Operation], accesses: list[Access], sources: _Sources, process: object, guarantee: Guarantee
) -> bool:
    """An arbitration of the writes, and for each of the process's operations a set of writes that it sees."""
    writes = [place for place, access in enumerate(accesses) if access.writes]
    mine = [place for place, operation in enumerate(history) if operation.process == process and operation.known]
    earlier = {write: _earlier(history, accesses, sources, write, guarantee) for write in writes}
    for order in permutations(writes):
        rank = {write: number for number, write in enumerate(order)}
        if any(_precedes(history, one, two) and rank[one] > rank[two] for one in writes for two in writes):
            continue
        if _visible(history, accesses, sources, mine, rank, earlier, guarantee):
            return True
    return False


def _visible(
    history: Sequence[Operation],
    accesses: list[Access],
    sources: _Sources,
    mine: list[int],
    rank: dict[int, int],
    earlier: dict[int, set[int]],
    guarantee: Guarantee,
) -> bool:
    def fits(place: int, seen: set[int]) -> bool:
        for cell, _ in accesses[place].reads:
            there = [w for w in seen if any(written == cell for written, _ in accesses[w].writes)]
            if max(there, key=lambda w: rank[w], default=None) != sources[place, cell]:
                return False
        return True

    def follows(number: int, last: set[int]) -> bool:
        if number == len(mine):
            return True
        place = mine[number]
        for seen in map(set, subsets([w for w in rank if w != place and not _precedes(history, place, w)])):
            if guarantee is Guarantee.READ_YOUR_WRITES:
                allowed = seen >= {one for one in mine[:number] if one in rank}
            elif guarantee is Guarantee.MONOTONIC_READS:
                allowed = seen >= last
            else:
                sticky = {write for write in last if earlier[write]}
                allowed = seen >= sticky and all(seen >= earlier[write] for write in seen)
                if guarantee is Guarantee.WRITES_FOLLOW_READS:
                    allowed = allowed and all(rank[one] < rank[w] for w in seen for one in earlier[w])
            if allowed and fits(place, seen) and follows(number + 1, seen):
                return True
        return False

    return follows(0, set())


def _earlier(
    history: Sequence[Operation], accesses: list[Access], sources: _Sources, write: int, guarantee: Guarantee
) -> set[int]:
    before = {one for one in range(len(history)) if _precedes(history, one, write)}
    if guarantee is Guarantee.MONOTONIC_WRITES:
        return {one for one in before if accesses[one].writes}
    if guarantee is not Guarantee.WRITES_FOLLOW_READS:
        return set()
    own = {write} if history[write].known else set()
    read = {source for (place, _), source in sources.items() if place in before | own}
    return {source for source in read if source is not None} - {write}


def _precedes(history: Sequence[Operation], one: int, two: int) -> bool:
    """In the order of their process; an operation of unknown outcome comes before none."""
    return (
        one != two
        and history[one].process == history[two].process
        and history[one].known
        and history[one].start < history[two].start
    )


def _in_order(history: Sequence[Operation], one: int, two: int) -> bool:
    return not _precedes(history, two, one)


def _closed(pairs: set[tuple[int, int]]) -> set[tuple[int, int]]:
    while True:
        more = {(one, four) for one, two in pairs for three, four in pairs if two == three} - pairs
        if not more:
            return pairs
        pairs = pairs | more


def subsets(items: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """All, the small ones first."""
    return chain.from_iterable(combinations(items, size) for size in range(len(items) + 1))
