"""The same operations on etcd and on Coterie give the same answers, field by field, and the same events.

COTERIE_FUZZ=2000 runs so many sequences; a few run by default.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.clients.calls import Calls
from tests.clients.operations import LEASES, based, calls, rebase, told
from tests.clients.servers import coterie_server, etcd_server
from tests.clients.watches import Watching

from coterie.etcd.wire import rpc

SEQUENCES = int(os.environ.get("COTERIE_FUZZ", "60"))
EVERYTHING = rpc.DeleteRangeRequest(key=b"\0", range_end=b"\0")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, protocol: str) -> Iterator[tuple[Calls, Calls]]:
    scratch = tmp_path_factory.mktemp("differential")
    with (
        etcd_server(scratch, 1) as theirs,
        coterie_server(scratch, 1) as ours,
        Calls(theirs.endpoint) as etcd,
        Calls(ours.endpoint) as coterie,
    ):
        yield etcd, coterie


def cleared(server: Calls) -> int:
    """No keys and no leases; the revision after that."""
    for lease in LEASES:
        server.outcome(rpc.LeaseRevokeRequest(ID=lease))
    server(rpc.PutRequest(key=b"a"))
    revision: int = server(EVERYTHING).header.revision
    return revision


@pytest.mark.slow
@pytest.mark.any_protocol
@settings(
    max_examples=SEQUENCES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
@given(sequence=st.lists(calls(), min_size=1, max_size=12))
def test_a_sequence_of_calls_has_the_answers_and_the_events_that_etcd_gives(
    servers: tuple[Calls, Calls], sequence: list[Message]
) -> None:
    bases = [cleared(server) for server in servers]
    watches = [Watching(server, base + 1) for server, base in zip(servers, bases, strict=True)]
    try:
        for number, call in enumerate(sequence):
            theirs, ours = (
                told(relative(server.outcome(based(call, base)), base))
                for server, base in zip(servers, bases, strict=True)
            )
            assert ours == theirs, f"call {number}, {type(call).__name__} {call}: etcd {theirs}, Coterie {ours}"
        ends = [server(rpc.RangeRequest(key=b"a")).header.revision for server in servers]
        assert ends[0] - bases[0] == ends[1] - bases[1]
        theirs, ours = (
            [relative(event, base) for event in watch.events_until(end)]
            for watch, base, end in zip(watches, bases, ends, strict=True)
        )
        assert ours == theirs
    finally:
        for watch in watches:
            watch.close()


def relative(answer: Message | tuple[str, str], base: int) -> Message | tuple[str, str]:
    """Revisions of the answer counted from where the sequence began."""
    if isinstance(answer, tuple):
        return answer
    copy = type(answer)()
    copy.CopyFrom(answer)
    rebase(copy, lambda revision: revision - base if revision > 1 else revision)
    return copy
