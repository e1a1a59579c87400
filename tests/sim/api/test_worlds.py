"""Worlds whose clients call etcd's API: no law is broken, every kind of caller does its work, one seed is one run."""

from __future__ import annotations

import msgspec
import pytest
from tests.sim.processes import in_another_process

from coterie.sim.api.cast import KINDS
from coterie.sim.campaign import Plan, run_seed
from coterie.sim.options import APIS, BOTH, ETCD, NATIVE, SECOND
from coterie.sim.worker import Order
from coterie.sim.world import World


@pytest.mark.parametrize("api", [ETCD, BOTH])
@pytest.mark.parametrize("seeds", [range(5), range(5, 10)], ids=str)
def test_no_law_is_broken_in_a_slice_of_seeds(seeds: range, api: str, protocol: str) -> None:
    for seed in seeds:
        result = run_seed(seed, Plan(duration=3 * SECOND, protocol=protocol, api=api))
        assert result.check == "", result.detail
        assert result.figures.calls > 0


def test_every_kind_of_caller_does_its_work(protocol: str) -> None:
    figures = run_seed(0, Plan(duration=6 * SECOND, protocol=protocol, api=ETCD, faults=("crash", "partition"))).figures
    assert figures.calls > 150
    assert figures.watched > 50
    assert figures.bookmarks > 0
    assert figures.resumed > 5
    assert figures.leases_ended > 5
    assert figures.held > 0


@pytest.mark.parametrize("api", [ETCD, BOTH])
def test_a_seed_gives_the_same_run_in_any_process(api: str, protocol: str) -> None:
    order = Order(21, 24, Plan(duration=2 * SECOND, protocol=protocol, api=api))
    there = in_another_process(order, "4242")
    here = [run_seed(seed, order.plan) for seed in range(21, 24)]
    assert there == here
    assert len({result.trace for result in here}) == 3


def test_callers_of_both_kinds_share_keys_and_one_history() -> None:
    world = World(Plan(duration=SECOND, api=BOTH).options(0))
    world.run()
    by_client = {operation.process for operation in world.subject.judge.registers()}  # type: ignore[attr-defined]
    assert any(number < 100 for number in by_client)
    assert any(number >= 100 for number in by_client)


def test_without_callers_of_the_api_members_serve_none_and_the_replay_does_not_name_it() -> None:
    options = {api: Plan(duration=SECOND, api=api).options(1) for api in APIS}
    assert World(options[NATIVE]).api_calls is None
    assert "--api" not in options[NATIVE].command()
    assert options[ETCD].command().endswith("--api etcd")
    assert options[BOTH].command().endswith("--api both")
    assert run_seed(1, Plan(duration=SECOND)) == run_seed(1, Plan(duration=SECOND, api=NATIVE))


def test_a_world_has_callers_of_every_kind_and_native_clients_only_beside() -> None:
    plan = Plan(duration=SECOND, clients=5)
    for api, native in ((ETCD, 0), (BOTH, 5)):
        world = World(msgspec.structs.replace(plan, api=api).options(0))
        kinds = [type(client) for client in world.clients]
        assert len(kinds) == native + 10
        assert kinds[native:] == [*KINDS, KINDS[0], *[KINDS[0]] * 5]
