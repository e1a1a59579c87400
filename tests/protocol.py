"""Which consensus protocol a test's clusters run: one mechanism for every room of tests.

A test with the fixture `protocol` (see conftest.py; all of tests/contract/ has it) runs once for each protocol. The
clusters that it makes meanwhile, of replicas, engines or processes, run that one; other tests' run the default. So a
test's body need not know which it is, and a new protocol is tested by its name in `PROTOCOLS`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from coterie.core.protocols import DEFAULT_PROTOCOL

_under_test = [DEFAULT_PROTOCOL]


def protocol_under_test() -> str:
    """What a cluster runs that is made now."""
    return _under_test[-1]


@contextmanager
def running(protocol: str) -> Iterator[None]:
    """Clusters that are made meanwhile run this one."""
    _under_test.append(protocol)
    try:
        yield
    finally:
        _under_test.pop()
