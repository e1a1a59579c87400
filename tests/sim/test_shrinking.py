"""What makes a failing run smaller: laws, over worlds whose failures are made up."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from coterie.core.config import MILLISECOND
from coterie.core.types import Nanos
from coterie.sim.options import FAULTS, SECOND, Options, choose, with_faults
from coterie.sim.shrinking import FINEST, shrink
from coterie.sim.verdict import Figures, Result


class Cause(msgspec.Struct, frozen=True):
    """What it takes for the failure to come about."""

    faults: frozenset[str]
    nodes: int
    clients: int
    duration: Nanos

    def judge(self, options: Options) -> Result:
        fails = (
            self.faults <= set(options.faults)
            and options.nodes >= self.nodes
            and options.clients >= self.clients
            and options.duration >= self.duration
        )
        # What fails otherwise is another bug.
        check = "law" if fails else "other" if options.duration >= self.duration else ""
        return Result(seed=options.seed, figures=Figures(), trace="", check=check, ended_at=options.duration + 1)


WHOLE = with_faults(choose(1, nodes=5, duration=30 * SECOND), FAULTS)
causes = st.builds(
    Cause,
    faults=st.frozensets(st.sampled_from(FAULTS), max_size=4),
    nodes=st.integers(1, WHOLE.nodes),
    clients=st.integers(1, WHOLE.clients),
    duration=st.integers(0, 30_000).map(lambda milliseconds: milliseconds * MILLISECOND),
)


def for_ever(options: Options, attempts: int) -> bool:
    return True


@given(causes)
def test_what_is_left_fails_by_the_same_check_and_has_nothing_that_it_does_not_need(cause: Cause) -> None:
    shrunk = shrink(WHOLE, cause.judge(WHOLE), cause.judge, for_ever)
    assert cause.judge(shrunk.options) == shrunk.result
    assert shrunk.result.check == "law"
    assert shrunk.complete
    assert set(shrunk.options.faults) == cause.faults
    assert (shrunk.options.nodes, shrunk.options.clients) == (cause.nodes, cause.clients)
    assert shrunk.options.duration - cause.duration <= max(2 * FINEST, shrunk.options.duration // 10)


@given(causes, st.integers(0, 20))
def test_when_time_is_up_the_smallest_so_far_is_told(cause: Cause, patience: int) -> None:
    shrunk = shrink(WHOLE, cause.judge(WHOLE), cause.judge, lambda options, attempts: attempts < patience)
    assert shrunk.attempts <= patience
    assert cause.judge(shrunk.options) == shrunk.result
    assert shrunk.result.check == "law"


def test_an_exception_is_the_same_only_if_it_says_the_same() -> None:
    def run(options: Options) -> Result:
        told = "KeyError: 'a'" if "loss" in options.faults else "KeyError: 'b'"
        detail = f"{told}, {options.nodes} members\nand where"
        return Result(seed=1, figures=Figures(), trace="", check="exception", detail=detail)

    shrunk = shrink(WHOLE, run(WHOLE), run, for_ever)
    assert shrunk.options.faults == ("loss",)
    assert shrunk.options.nodes == 1


def test_no_run_is_tried_twice() -> None:
    seen: list[Options] = []

    def run(options: Options) -> Result:
        seen.append(options)
        return Cause(frozenset({"crash", "loss"}), 3, 2, 3 * SECOND).judge(options)

    shrunk = shrink(WHOLE, Cause(frozenset(), 1, 1, 0).judge(WHOLE), run, for_ever)
    assert len(seen) == len(set(seen)) == shrunk.attempts
