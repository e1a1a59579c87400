"""The key-value machine with revisions, seen in part: others may change it, too, so that revisions have gaps.

Whatever is right with every revision accounted for is right with gaps, and stays so when operations are taken out. So a
history that is wrong even with gaps has a small counterexample, which the strict model cannot give.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import ClassVar, NamedTuple

from coterie.check.history import Operation, show
from coterie.check.models.model import IMPOSSIBLE, Action, State, same
from coterie.check.models.revision_calls import Call, KeyedRevisions


class _Item(NamedTuple):
    value: Hashable
    mod: int | None
    """Revision of the last change; None if nobody was told."""


class _Seen(NamedTuple):
    revision: int
    """At least this has been reached."""
    items: tuple[_Item | None, ...]

    def reached(self, revision: int | None) -> _Seen:
        """The same at this revision, if it is known."""
        return self if revision is None else self._replace(revision=revision)


class RevisionOrder(KeyedRevisions):
    """Revisions never go back, changes go up, and a key's value is that of its last change."""

    name: ClassVar[str] = "kv-revisions"

    def initials(self, history: Sequence[Operation]) -> Sequence[State]:
        return [_Seen(0, (None,) * len(self.places(history)))]

    def action(self, call: Call) -> Action:
        label = (call.f, call.place, call.expected, call.value, call.revision, call.took)
        if call.f == "get" and call.revision is None:
            return Action(same, None, label)

        def step(state: State) -> State:
            assert isinstance(state, _Seen)
            if call.revision is not None and call.revision < state.revision:
                return IMPOSSIBLE
            item = state.items[call.place]
            if call.f == "get":
                fits = item is None if call.value is None else _is(item, call.value, call.mod)
                return state.reached(call.revision) if fits else IMPOSSIBLE
            changes = call.changes(item.value if item is not None else None)
            if call.took is not None and changes is not call.took:
                return IMPOSSIBLE
            if not changes:
                return state.reached(call.revision)
            if call.revision == state.revision:
                return IMPOSSIBLE
            stored = None if call.f == "delete" else _Item(call.value, call.revision)
            revision = call.revision if call.revision is not None else state.revision + 1
            return _Seen(revision, (*state.items[: call.place], stored, *state.items[call.place + 1 :]))

        return Action(step, step, label)

    def show(self, state: State) -> str:
        assert isinstance(state, _Seen)
        items = ", ".join("nothing" if item is None else show(item.value) for item in state.items)
        return f"{items} at revision {state.revision} or later"

    def removals(self, history: Sequence[Operation]) -> Iterator[tuple[int, ...]]:
        """Whatever left the store as it was, and a change that no answer shows and no other operation of the key but
        a put may have met."""
        calls = self.calls(history)
        shown = {(call.place, call.value) for call in calls if call.f == "get" and call.revision is not None}
        meeting = {
            place: [c for c in calls if c.place == place and c.f in ("delete", "cas")]
            for place in {call.place for call in calls}
        }
        for number, call in enumerate(calls):
            left = None if call.f == "delete" else call.value
            met = [other for other in meeting[call.place] if other is not call]
            if call.f == "get" or call.took is False or not (met or (call.place, left) in shown):
                yield (number,)


def _is(item: _Item | None, value: Hashable, mod: int | None) -> bool:
    return item is not None and item.value == value and item.mod in (None, mod)
