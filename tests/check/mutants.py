"""Wrong changes of the checker itself, and which of its tests must notice each.

A checker that calls wrong histories right is worse than none, and one that calls right histories wrong is ignored; so
the tests of `check/` are tested as the simulated world is (`tests/mutants/`).
"""

from __future__ import annotations

from typing import Final

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

SEARCHES: Final = (
    wrong(
        "A01",
        "the search ignores real time: everything ends at the end",
        SEARCH,
        "    moments += [(operation.end, 1, position) for",
        "    moments += [(1 << 62, 1, position) for",
        TRAPS,
    ),
    wrong(
        "A02",
        "zones may overlap",
        ZONES,
        "        if two.first_end < one.last_start:\n",
        "        if two.last_start < one.first_end:\n",
        CLUSTERS,
    ),
    wrong(
        "A03",
        "a cluster may lie inside of another's zone",
        ZONES,
        "        if position >= 0 and cluster.first_end < forward[position].last_start:\n",
        "        if position > 0 and cluster.first_end < forward[position].last_start:\n",
        CLUSTERS,
    ),
    wrong(
        "A04",
        "what ends when another begins comes before it",
        SEARCH,
        "    moments += [(operation.end, 1, position) for",
        "    moments += [(max(operation.start, operation.end - 1), 1, position) for",
        TRAPS,
    ),
    wrong(
        "A05",
        "a read that ends when the write begins is impossible",
        ZONES,
        "read.end < source.write.start:",
        "read.end <= source.write.start:",
        CLUSTERS,
    ),
    wrong(
        "A06",
        "the search takes an unknown outcome for a failure",
        SEARCH,
        "        elif action.effect is not None:\n            doubtful",
        "        elif action.effect is None:\n            doubtful",
        TRAPS,
    ),
    wrong(
        "A07",
        "clusters take an unknown outcome for a failure",
        LINEARIZABILITY,
        "        if touch.write or operation.known:\n",
        "        if operation.known:\n",
        CLUSTERS,
    ),
    wrong(
        "A08",
        "what of unknown outcome began must happen",
        SEARCH,
        "        if here.passed == len(ends):\n            return Outcome(True, -1)\n",
        "        if here.passed == len(ends):\n"
        "            if here.used + 1 == 1 << len(doubtful):\n"
        "                return Outcome(True, -1)\n"
        "            furthest, here = 0, here._replace(passed=0, known=0)\n",
        TRAPS,
    ),
    wrong(
        "A09",
        "configurations are remembered without what is linearized of the operations under way",
        SEARCH,
        "setdefault((here.state, here.known), [])",
        "setdefault((here.state, 0), [])",
        TRAPS,
        slice_of_ci=True,
    ),
    wrong(
        "A10",
        "configurations are remembered without the operations of unknown outcome",
        SEARCH,
        "        if any(used & ~here.used == 0 for used in fewer):\n",
        "        if fewer:\n",
        TRAPS,
    ),
    wrong(
        "A11",
        "configurations are remembered without the state",
        SEARCH,
        "setdefault((here.state, here.known), [])",
        "setdefault((None, here.known), [])",
        TRAPS,
    ),
    wrong(
        "A12",
        "who has used more is preferred to who has used less",
        SEARCH,
        "        if any(used & ~here.used == 0 for used in fewer):\n",
        "        if any(here.used & ~used == 0 for used in fewer):\n",
        TRAPS,
    ),
    wrong(
        "A14",
        "what of unknown outcome may take effect before it began",
        SEARCH,
        "    for place in range(end.doubtful - 1, -1, -1):\n",
        "    for place in range(len(doubtful) - 1, -1, -1):\n",
        TRAPS,
    ),
    wrong(
        "A15",
        "an operation of unknown outcome was of no use, though somebody looked at what it did",
        SEARCH,
        "                known |= look.bit\n                before = IMPOSSIBLE\n",
        "                known |= look.bit\n",
        TRAPS,
    ),
    wrong(
        "A16",
        "a look that does not fit is taken all the same",
        SEARCH,
        "            if not known & look.bit and look.step(state) is not IMPOSSIBLE:\n",
        "            if not known & look.bit:\n",
        TRAPS,
    ),
    wrong(
        "A17",
        "who gives up says yes",
        SEARCH,
        "            return Outcome(None, -1)\n",
        "            return Outcome(True, -1)\n",
        f"{LINEAR}::test_who_gives_up_says_unknown_and_never_yes",
    ),
    wrong(
        "A18",
        "a part that was given up counts as right",
        LINEARIZABILITY,
        "    return Linearizability(None if gave_up else True)\n",
        "    return Linearizability(True)\n",
        f"{LINEAR}::test_who_gives_up_says_unknown_and_never_yes",
    ),
    wrong(
        "A19",
        "a transaction does not tie its keys together",
        LINEARIZABILITY,
        "        for key in keys[1:]:\n",
        "        for key in keys[2:]:\n",
        f"{LINEAR}::test_keys_are_apart_unless_an_operation_touches_several",
    ),
    wrong(
        "A20",
        "histories are split by process, not by key",
        "check/models/model.py",
        "        return (operation.key,)\n",
        "        return (operation.process,)\n",
        ALONE,
    ),
    wrong(
        "A21",
        "only the first part is looked at",
        LINEARIZABILITY,
        "        gave_up = gave_up or found.holds is None\n",
        "        return found\n",
        f"{LINEAR}::test_each_key_is_looked_at",
    ),
    wrong(
        "A22",
        "values are taken for distinct though one is written twice",
        ZONES,
        "    return len({initial, *written}) == len(written) + 1\n",
        "    return True\n",
        TRAPS,
    ),
)

COUNTEREXAMPLES: Final = (
    wrong(
        "B01",
        "operations are taken out though what is left is right",
        COUNTEREXAMPLE,
        "        if wrong(smaller):\n            return smaller\n",
        "        return smaller\n",
        SMALL,
        slice_of_ci=True,
    ),
    wrong(
        "B02",
        "a counterexample is not made as small as it can be",
        COUNTEREXAMPLE,
        "                size //= 2\n",
        "                size = 0\n",
        SMALL,
    ),
    wrong(
        "B03",
        "what was under way when it went wrong is left out",
        LINEARIZABILITY,
        "        if operation.end <= time or action.effect is not None\n",
        "        if operation.end <= time\n",
        BEGINNINGS,
    ),
    wrong(
        "B04",
        "what was under way when it went wrong counts as answered",
        LINEARIZABILITY,
        "        operation if operation.end <= time else unknown(operation)\n",
        "        operation\n",
        BEGINNINGS,
    ),
    wrong(
        "B05",
        "less is said of an operation, though then it would be right",
        COUNTEREXAMPLE,
        "        if weaker is not None and wrong([*kept[:place], weaker, *kept[place + 1 :]]):\n",
        "        if weaker is not None:\n",
        SMALL,
    ),
    wrong(
        "B06",
        "the first operation is blamed",
        COUNTEREXAMPLE,
        'Counterexample("linearizable", tuple(small), last.culprit, last.reason)',
        'Counterexample("linearizable", tuple(small), small[0], last.reason)',
        f"{LINEAR}::test_a_stale_read_of_the_machine_with_revisions_is_shown_without_the_thousand_puts_before_it",
    ),
    wrong(
        "B07",
        "a write may go though a failed comparison may owe its failure to it",
        REGISTER,
        '        if any(o.f == "cas" and o.known and o.result is False for o in history):\n',
        "        if False:\n",
        NEEDED,
    ),
    wrong(
        "B08",
        "a write may go though somebody read it",
        REGISTER,
        "            if not before or latest_end[before - 1] < operation.start:\n",
        "            if True:\n",
        SOUND,
    ),
    wrong(
        "B09",
        "a removal may go though an answer shows it",
        OBJECTS,
        '            shows = operation.f == "add"\n',
        "            shows = True\n",
        NEEDED,
    ),
    wrong(
        "B10",
        "a value may be taken out of a queue without its dequeue",
        OBJECTS,
        "                yield (places[0], takes[value][0])\n",
        "                yield (places[0],)\n",
        SOUND,
    ),
    wrong(
        "B11",
        "a stay of a lock's holder may go though another was refused for it",
        OBJECTS,
        "        if any(o.known and not self._took(o) for o in history):\n",
        "        if False:\n",
        SOUND,
    ),
    wrong(
        "B12",
        "an append may go though a read has it within its value",
        KEY_VALUE,
        "        return written in found\n",
        "        return written == found\n",
        NEEDED,
    ),
    wrong(
        "B13",
        "gaps in revisions let a revision go back",
        REVISION_ORDER,
        "            if call.revision is not None and call.revision < state.revision:\n",
        "            if call.revision is not None and call.revision < 0:\n",
        f"{LINEAR}::test_a_stale_read_of_the_machine_with_revisions_is_shown_without_the_thousand_puts_before_it",
        f"{MODELS}::test_with_gaps_revisions_still_go_up",
    ),
    wrong(
        "B14",
        "with gaps a change may go though it was read",
        REVISION_ORDER,
        '            if call.f == "get" or call.took is False or not (met or (call.place, left) in shown):\n',
        '            if call.f == "get" or call.took is False or not met:\n',
        NEEDED,
    ),
)

OBJECTS_WRONG: Final = (
    wrong(
        "M01",
        "a register's read of nothing fits whatever is there",
        REGISTER,
        '    return Action(lambda state: state if state == value else IMPOSSIBLE, None, ("read", value))\n',
        '    return Action(lambda state: state if value in (state, None) else IMPOSSIBLE, None, ("read", value))\n',
        ALONE,
        slice_of_ci=True,
    ),
    wrong(
        "M02",
        "a comparison may fail where it finds what it expects",
        REGISTER,
        "    return Action(lambda state: state if state != expected else IMPOSSIBLE, None, ",
        "    return Action(lambda state: state, None, ",
        ALONE,
    ),
    wrong(
        "M03",
        "a comparison may hold where it does not find what it expects",
        REGISTER,
        "            lambda state: new if state == expected else IMPOSSIBLE, lambda _: new, ",
        "            lambda state: new, lambda _: new, ",
        ALONE,
    ),
    wrong(
        "M04",
        "a comparison of unknown outcome sets its value whatever it finds",
        REGISTER,
        "            return new if state == expected else state\n",
        "            return new\n",
        f"{MODELS}::test_an_unknown_outcome_is_one_that_the_object_can_have",
    ),
    wrong(
        "M05",
        "a queue gives the newest first",
        OBJECTS,
        "        return state[1:] if state and state[0] == value else IMPOSSIBLE\n",
        "        return state[:-1] if state and state[-1] == value else IMPOSSIBLE\n",
        ALONE,
    ),
    wrong(
        "M06",
        "a queue may say that it is empty when it is not",
        OBJECTS,
        "        return Action(lambda state: state if state == () else IMPOSSIBLE, None, ",
        "        return Action(lambda state: state, None, ",
        ALONE,
    ),
    wrong(
        "M07",
        "a read of a set may leave elements out",
        OBJECTS,
        "        return Action(lambda state: state if state == whole else IMPOSSIBLE, None, (f, whole))\n",
        "        return Action(lambda state: state if whole <= _elements(state) else IMPOSSIBLE, None, (f, whole))\n",
        ALONE,
    ),
    wrong(
        "M08",
        "a removed element stays in a set",
        OBJECTS,
        "        return _elements(state) | one if add else _elements(state) - one\n",
        "        return _elements(state) | one if add else _elements(state)\n",
        ALONE,
    ),
    wrong(
        "M09",
        "a lock that is free may be refused",
        OBJECTS,
        "        return Action(lambda state: state if state != before else IMPOSSIBLE, None, (f, who, False))\n",
        "        return Action(lambda state: state, None, (f, who, False))\n",
        ALONE,
    ),
    wrong(
        "M10",
        "a lock may be taken from its holder",
        OBJECTS,
        "            return Action(lambda state: after if state == before else IMPOSSIBLE, attempt, (f, who, True))\n",
        "            return Action(lambda state: after, attempt, (f, who, True))\n",
        ALONE,
    ),
    wrong(
        "M11",
        "an append goes before the value",
        KEY_VALUE,
        "                values[place] = before + value\n",
        "                values[place] = value + before\n",
        ALONE,
    ),
    wrong(
        "M12",
        "a transaction's reads are not looked at",
        KEY_VALUE,
        "            elif values[place] != value:\n",
        '            elif f == "other":\n',
        ALONE,
    ),
    wrong(
        "M13",
        "a change may have any revision",
        REVISIONS,
        "    if call.revision is not None and revision != call.revision:\n",
        "    if call.revision is not None and revision > call.revision:\n",
        ALONE,
    ),
    wrong(
        "M14",
        "a read's revision of the last change is not looked at",
        REVISIONS,
        "item == _Stored(call.value, call.mod or 0)\n",
        "item is not None and item.value == call.value\n",
        ALONE,
    ),
    wrong(
        "M15",
        "a read may name an older revision",
        REVISIONS,
        "    return state if fits and state.revision == call.revision else IMPOSSIBLE\n",
        "    return state if fits else IMPOSSIBLE\n",
        ALONE,
    ),
    wrong(
        "M16",
        "a delete of nothing is a change",
        "check/models/revision_calls.py",
        "            return found is not None\n",
        "            return True\n",
        ALONE,
    ),
)

WEAKER_MODELS: Final = (
    wrong(
        "W01",
        "causal does not bring pram",
        LATTICE,
        '    "causal": ("pram", "writes-follow-reads"),\n',
        '    "causal": ("writes-follow-reads",),\n',
        f"{WEAKER}::test_the_lattice_has_causal_between_sequential_and_all_guarantees",
    ),
    wrong(
        "W02",
        "a model that holds brings the stronger ones",
        LATTICE,
        "        if other in weaker_than(name) if holds else name in weaker_than(other):\n",
        "        if name in weaker_than(other):\n",
        TEXTBOOK,
    ),
    wrong(
        "W03",
        "a session guarantee looks at everybody's operations as one session's",
        VIEWS,
        "        self._mine = [place for place in execution.processes.get(process, ()) if",
        "        self._mine = [place for place in range(len(execution.history)) if",
        TEXTBOOK,
    ),
    wrong(
        "W04",
        "only the first process's guarantee is looked at",
        LATTICE,
        "        undecided = undecided or outcome.holds is None\n",
        "        return outcome\n",
        TEXTBOOK,
    ),
    wrong(
        "W05",
        "monotonic reads forget what was read",
        VIEWS,
        "            self._kept |= sources\n            return set(self._kept)\n",
        "            return set(sources)\n",
        TEXTBOOK,
    ),
    wrong(
        "W06",
        "one's own writes need not be seen",
        VIEWS,
        "            return self._kept | sources\n",
        "            return sources\n",
        TEXTBOOK,
    ),
    wrong(
        "W07",
        "a write of unknown outcome comes before what its process did later",
        VIEWS,
        "                if history[position].known:\n                    known.append(position)\n",
        "                known.append(position)\n",
        WEAK,
    ),
    wrong(
        "W08",
        "who read from whom is no cause",
        VIEWS,
        "            direct[read.reader] |= 1 << source\n",
        "            direct[read.reader] |= 0 << source\n",
        WEAK,
    ),
    wrong(
        "W09",
        "for causal, what other processes read is no matter",
        VIEWS,
        "    return guarantee in (Guarantee.CAUSAL, Guarantee.WRITES_FOLLOW_READS)\n",
        "    return guarantee is Guarantee.WRITES_FOLLOW_READS\n",
        WEAK,
    ),
    wrong(
        "W10",
        "writes need not follow what their writer had read",
        VIEWS,
        "        return all(order.add(earlier, write) for write in sorted(visible) for",
        "        return True or all(order.add(earlier, write) for write in sorted(visible) for",
        WEAK,
    ),
    wrong(
        "W11",
        "the order of writes may go round in a circle",
        VIEWS,
        "        if earlier == later or self._reaches(later, earlier):\n",
        "        if earlier == later:\n",
        TEXTBOOK,
    ),
    wrong(
        "W12",
        "a process may read from what it writes later",
        VIEWS,
        "            and read.reader not in self.before[writer]\n",
        "",
        f"{WEAKER}::test_nobody_reads_what_he_writes_later",
    ),
    wrong(
        "W13",
        "a value that nobody wrote is anybody's",
        LATTICE,
        "        if not sources:\n",
        "        if sources is None:\n",
        TEXTBOOK,
    ),
    wrong(
        "W14",
        "the order of a process does not count",
        SEQUENTIAL,
        "        for lane, mine in enumerate(by_process(history).values()):\n",
        "        for lane, mine in enumerate([one] for one in history):\n",
        SEQUENCES,
        TEXTBOOK,
    ),
    wrong(
        "W15",
        "what of unknown outcome may come before what its process did earlier",
        SEQUENTIAL,
        "and done[lane] >= after:\n",
        "and done[lane] >= 0 * after:\n",
        SEQUENCES,
    ),
    wrong(
        "W16",
        "orders are remembered without what of unknown outcome happened",
        SEQUENTIAL,
        "            seen.add((done, happened, state))\n",
        "            seen |= {(done, other, state) for other in range(1 << len(self._doubtful))}\n",
        SEQUENCES,
    ),
    wrong(
        "W17",
        "steps that are used up count as yes",
        SEQUENTIAL,
        "                return None\n            seen",
        "                return True\n            seen",
        f"{WEAKER}::test_models_that_are_not_defined_for_an_object_stay_open_and_a_budget_that_is_used_up_too",
    ),
)

FILES: Final = (
    wrong(
        "F01",
        "an operation that ends with `info` is left out",
        EVENTS,
        '        elif event.type == "info":\n            found[start] = _operation(call, start, FOREVER, None)\n',
        "",
        f"{FORMATS}::test_jepsens_log_is_read_a_failed_comparison_as_an_answer_and_what_did_not_happen_not_at_all",
        slice_of_ci=True,
    ),
    wrong(
        "F02",
        "`info` ends an operation",
        EVENTS,
        '        elif event.type == "info":\n            found[start] = _operation(call, start, FOREVER, None)\n',
        '        elif event.type == "info":\n            found[start] = _operation(call, start, position, None)\n',
        f"{FORMATS}::test_jepsens_log_is_read_a_failed_comparison_as_an_answer_and_what_did_not_happen_not_at_all",
    ),
    wrong(
        "F03",
        "an operation without an end is left out",
        EVENTS,
        "    for start, call in open_calls.values():\n",
        "    for start, call in ():\n",
        f"{FORMATS}::test_jepsens_log_is_read_a_failed_comparison_as_an_answer_and_what_did_not_happen_not_at_all",
    ),
    wrong(
        "F04",
        "an operation that failed counts as answered",
        EVENTS,
        '        if event.type == "ok" or event.failed_look:\n',
        '        if event.type in ("ok", "fail"):\n',
        f"{FORMATS}::test_a_failed_comparison_of_edn_only_did_not_happen",
    ),
    wrong(
        "F05",
        "an answer is taken from where the operation began",
        EVENTS,
        "False if event.failed_look else event.value)",
        "False if event.failed_look else call.value)",
        f"{FORMATS}::test_our_own_lines_are_read",
    ),
    wrong(
        "F06",
        "an operation begins where it ends",
        EVENTS,
        "        start=start,\n        end=end,\n        line=call.line,\n",
        "        start=min(end, start + 1),\n        end=end,\n        line=call.line,\n",
        f"{FORMATS}::test_our_own_lines_are_read",
    ),
    wrong(
        "F07",
        "a process may have two operations at a time",
        EVENTS,
        "            if begun is not None:\n",
        "            if begun is None and position < 0:\n",
        f"{FORMATS}::test_what_is_malformed_is_refused_with_its_line",
    ),
    wrong(
        "F08",
        "time may go back",
        EVENTS,
        "event.time < latest.time:\n",
        "event.time < 0:\n",
        f"{FORMATS}::test_what_is_malformed_is_refused_with_its_line",
    ),
    wrong(
        "F09",
        "independent keys are one object",
        JEPSEN,
        "        key, value = value\n",
        "        _, value = value\n",
        f"{FORMATS}::test_pairs_of_key_and_value_are_independent_objects_where_all_are",
    ),
    wrong(
        "F10",
        "a failed comparison of Jepsen's log did not happen",
        JEPSEN,
        '        looked = type == "fail" and f == "cas" and isinstance(value, tuple)\n',
        "        looked = False\n",
        f"{FORMATS}::test_jepsens_log_is_read_a_failed_comparison_as_an_answer_and_what_did_not_happen_not_at_all",
    ),
    wrong(
        "F11",
        "truth is a number",
        JSON_LINES,
        "        return TRUE if value else FALSE\n",
        "        return int(value)\n",
        f"{FORMATS}::test_truth_is_no_number_and_a_list_is_a_list",
    ),
    wrong(
        "F12",
        "of what happens at one moment ends are written before beginnings",
        JSON_LINES,
        "_LOST, _BEGINS, _ENDS_AT_ONCE, _AGAIN, _ENDS = range(5)\n",
        "_LOST, _ENDS_AT_ONCE, _AGAIN, _ENDS, _BEGINS = range(5)\n",
        f"{FORMATS}::test_what_was_concurrent_is_so_when_it_is_read_again",
    ),
    wrong(
        "F13",
        "a process's calls that overlap are taken one after the other",
        HISTORY,
        "        if mine and mine[-1].known and mine[-1].end > operation.start:\n",
        "        if mine and mine[-1].known and mine[-1].end > operation.end:\n",
        f"{WEAKER}::test_two_calls_of_one_process_at_a_time_are_refused",
    ),
)

MUTANTS: Final = SEARCHES + COUNTEREXAMPLES + OBJECTS_WRONG + WEAKER_MODELS + FILES
