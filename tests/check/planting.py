"""How a wrong change of the checker is written down, and the tests that notice most of them."""

from __future__ import annotations

from coterie.sim.mutants import Change, Mutant

COUNTEREXAMPLE = "check/counterexample.py"
EVENTS = "check/formats/events.py"
HISTORY = "check/history.py"
JEPSEN = "check/formats/jepsen.py"
JSON_LINES = "check/formats/json_lines.py"
KEY_VALUE = "check/models/key_value.py"
LATTICE = "check/lattice.py"
LINEARIZABILITY = "check/linearizability.py"
OBJECTS = "check/models/collections.py"
REGISTER = "check/models/register.py"
REVISION_ORDER = "check/models/revision_order.py"
REVISIONS = "check/models/revisions.py"
SEARCH = "check/search.py"
SEQUENTIAL = "check/sequential.py"
VIEWS = "check/views.py"
ZONES = "check/zones.py"

FORMATS = "test_formats.py"
WEAKER = "test_lattice.py"
LINEAR = "test_linearizability.py"
MODELS = "test_models.py"
FIXED = "test_traps.py"


def wrong(row: str, name: str, file: str, old: str, new: str, *tests: str, slice_of_ci: bool = False) -> Mutant:
    """A row. `tests`: those that must notice it, as `file::test`. `slice_of_ci`: it is tried in every run of the
    suite, the others by a command."""
    changes = (Change(file, old, new),)
    return Mutant(row=row, name=name, changes=changes, killers=frozenset(tests), by_command=not slice_of_ci)


TRAPS = f"{FIXED}::test_the_search_is_not_taken_in"
CLUSTERS = f"{FIXED}::test_clusters_are_not_taken_in"
WEAK = f"{FIXED}::test_weaker_models_are_not_taken_in"
NEEDED = f"{FIXED}::test_what_is_needed_is_not_taken_out"
SEQUENCES = f"{FIXED}::test_sequences_are_not_taken_in"
SOUND = f"{LINEAR}::test_what_may_be_taken_out_or_said_less_of_a_right_history_leaves_it_right"
BEGINNINGS = f"{LINEAR}::test_the_beginning_of_a_right_history_is_right"
SMALL = f"{LINEAR}::test_a_recorded_history_with_one_lie_is_made_small"
ALONE = f"{MODELS}::test_one_operation_after_the_other_is_right_exactly_as_the_object_answers"
TEXTBOOK = f"{WEAKER}::test_the_textbooks_histories_fail_what_the_textbook_says"
