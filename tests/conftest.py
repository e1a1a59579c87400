"""The fixtures `protocol` (see tests/protocol.py) and `browser` (see tests/browser.py)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import Phase, settings
from tests.browser import NAMES, Browser, find
from tests.certificates import Certificates
from tests.protocol import running

from coterie.core.protocols import PROTOCOLS

# How long an example takes says more about the machine than about the code.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
# For those who only want to know whether a test fails: nobody reads what it failed with.
settings.register_profile("no-shrink", deadline=None, phases=[Phase.explicit, Phase.generate], database=None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--every-protocol", action="store_true", help="heed no `any_protocol` mark")
    parser.addoption("--every-mutant", action="store_true", help="try all wrong changes of the checker, not a few")


@pytest.fixture(scope="module")
def protocol(request: pytest.FixtureRequest) -> Iterator[str]:
    """The test runs once for each protocol (with the first alone if it is marked `any_protocol`)."""
    with running(request.param):
        yield request.param


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser without a window. Where none is installed, tests that need it are skipped."""
    path = find()
    if path is None:
        pytest.skip(f"no browser ({', '.join(NAMES)}) on the PATH; Debian: apt-get install chromium")
    opened = Browser(path, tmp_path_factory.mktemp("browser"))
    yield opened
    opened.close()


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
