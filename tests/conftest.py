"""The fixture `protocol`: see tests/protocol.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import Phase, settings
from tests.certificates import Certificates
from tests.protocol import running

from coterie.core.protocols import PROTOCOLS

# For those who only want to know whether a test fails: nobody reads what it failed with.
settings.register_profile("no-shrink", phases=[Phase.explicit, Phase.generate], database=None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--every-protocol", action="store_true", help="heed no `any_protocol` mark")
    parser.addoption("--every-mutant", action="store_true", help="try all wrong changes of the checker, not a few")


@pytest.fixture(scope="module")
def protocol(request: pytest.FixtureRequest) -> Iterator[str]:
    """The test runs once for each protocol (with the first alone if it is marked `any_protocol`)."""
    with running(request.param):
        yield request.param


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    given = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if "protocol" in metafunc.fixturenames and not any("protocol" in names for names in given):
        once = metafunc.definition.get_closest_marker("any_protocol") is not None
        once = once and not metafunc.config.getoption("every_protocol")
        metafunc.parametrize("protocol", PROTOCOLS[:1] if once else PROTOCOLS, indirect=True)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Made once; not to be changed."""
    return Certificates(tmp_path_factory.mktemp("certificates"))
