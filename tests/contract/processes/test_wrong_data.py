"""Members that start with data which are not theirs, or with none: one clear line each, and the others unharmed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.contract.processes.cluster import PATIENT, Cluster, alive, cluster, lines_with, status_of
from tests.contract.processes.load import Load, read_everywhere
from tests.runtime.cluster import FAST, Process, free_ports, put, until

pytestmark = pytest.mark.any_protocol

EXIT_NOT_STARTED = 3


@contextmanager
def unharmed(members: Cluster, healthy: list[Process]) -> Iterator[Load]:
    """Clients of the healthy members see no failure meanwhile, and a right history."""
    with Load(members.endpoints, workers=2) as load:
        load.progress(10)
        yield load
        load.progress(10)
    read_everywhere(load.history, [node.client for node in healthy])
    assert load.history.failures == []
    assert load.history.problems() == []
    assert all(alive(node) for node in healthy)


def refused(node: Process, *says: str) -> None:
    """It ends with exit code 3 and one last line, of its own words, that says all this."""
    before = node.lines() if node.log.exists() else ""
    node.start()
    assert node.wait() == EXIT_NOT_STARTED
    said = node.lines()[len(before) :].splitlines()
    own = [line for line in said if line.startswith("coterie: ")]
    assert len(own) == 1, said
    assert said[-1] == own[0]
    for text in says:
        assert text in own[0]
    assert "Traceback" not in node.lines()


def test_a_wiped_member_under_its_old_name_is_refused_again_and_again(tmp_path: Path) -> None:
    with cluster(tmp_path, flags=PATIENT) as members:
        members.ready()
        wiped = members.followers()[0]
        healthy = [node for node in members.nodes if node is not wiped]
        with unharmed(members, healthy):
            members.kill(wiped)
            shutil.rmtree(wiped.data)
            refused(wiped, wiped.name, "wiped", "remove the member from it, then add it again")
            refused(wiped, "remove the member from it, then add it again")
        assert status_of(healthy[0]).leader == status_of(healthy[1]).leader


def test_two_wiped_of_three_are_refused_and_the_third_does_not_forget(tmp_path: Path) -> None:
    """Two empty disks of three would elect an empty leader: what was acknowledged would be gone."""
    with cluster(tmp_path) as members:
        members.ready()
        put(members.nodes[0], b"k", b"v")
        written = max(status_of(node).commit for node in members.nodes)
        until(lambda: status_of(members.nodes[0]).commit >= written)
        keeper, *wiped = members.nodes
        members.kill(*wiped)
        for node in wiped:
            shutil.rmtree(node.data)
        for node in wiped:
            refused(node, "remove the member from it, then add it again")
        assert alive(keeper)
        status = status_of(keeper)
        assert status.role != "leader"
        assert status.commit >= written


def test_the_data_directory_of_another_member_is_refused(tmp_path: Path) -> None:
    with cluster(tmp_path, flags=PATIENT) as members:
        members.ready()
        first, second, third = members.nodes
        healthy = [first, second]
        with unharmed(members, healthy):
            members.kill(third)
            own = third.arguments
            third.arguments = [*own[:3], str(second.data), *own[4:]]
            refused(third, str(second.data), "is in use by process")
            copy = tmp_path / "copy"
            shutil.copytree(second.data, copy)
            third.arguments = [*own[:3], str(copy), *own[4:]]
            refused(third, str(copy), "belongs to member 'n2', not to 'n3'")
            third.arguments = own
            third.start()
            until(lambda: members.agreed(members.nodes))


def test_a_directory_of_another_cluster_under_the_same_name_is_told_by_all_and_serves_nothing(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with cluster(tmp_path, flags=PATIENT) as members, cluster(tmp_path / "other", flags=PATIENT) as others:
        members.ready()
        others.ready()
        put(others.nodes[0], b"a", b"of the other cluster")
        assert others.stop(*others.nodes) == [0, 0, 0]
        lost, *healthy = reversed(members.nodes)
        with unharmed(members, healthy):
            members.kill(lost)
            lost.data.rename(tmp_path / "away")
            (tmp_path / "other" / lost.name).rename(lost.data)
            lost.start()
            until(lambda: all(lines_with(node, "peer-refused", "belongs to cluster") for node in healthy))
            until(lambda: lines_with(lost, "peer-refused", "check the addresses and data directories"))
            assert status_of(lost).leader == 0
            assert status_of(lost).cluster != status_of(healthy[0]).cluster
            # Its own data come back, and it is a member as before.
            members.kill(lost)
            shutil.rmtree(lost.data)
            (tmp_path / "away").rename(lost.data)
            lost.start()
            until(lambda: members.agreed(members.nodes))


def test_a_member_of_another_cluster_that_dials_this_one_is_refused_and_says_why(tmp_path: Path) -> None:
    """The other cluster of two lost a member, at whose address a member of this one listens now."""
    (tmp_path / "other").mkdir()
    with cluster(tmp_path, flags=PATIENT) as members, cluster(tmp_path / "other", 2, PATIENT) as others:
        here = members.nodes[1]
        stays, gone = others.nodes
        gone.arguments = [part.replace(gone.peer, here.peer) for part in gone.arguments]
        stays.arguments = [part.replace(gone.peer, here.peer) for part in stays.arguments]
        others.ready()
        others.kill(gone)
        members.ready()
        with unharmed(members, members.nodes):
            until(lambda: lines_with(stays, "peer-refused-us", "belongs to cluster", "check the addresses"))
            until(lambda: lines_with(here, "peer-refused", "n1", "belongs to cluster", "check the addresses"))
        assert status_of(stays).leader == 0


def test_a_new_member_that_names_a_running_cluster_as_its_first_members_is_refused(tmp_path: Path) -> None:
    with cluster(tmp_path, flags=PATIENT) as members:
        members.ready()
        peer, client = free_ports(2)
        named = ",".join(f"{node.name}={node.peer}" for node in members.nodes)
        new = Process("n4", tmp_path / "n4", peer, client, f"n4=127.0.0.1:{peer},{named}", FAST)
        try:
            with unharmed(members, members.nodes):
                refused(new, "n4", "refuses this member's first start")
        finally:
            new.kill()
