"""What a cluster is asked to do: the input of the advice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from coterie.core.errors import ConfigurationError
from coterie.core.protocols import PROTOCOLS
from coterie.lab.latency.deployment import LINEARIZABLE, MODES
from coterie.lab.network.network import Network

MAX_REPLICAS: Final = 9
MAX_SURVIVED: Final = (MAX_REPLICAS - 1) // 2
MAX_VALUE_BYTES: Final = 1 << 20
MAX_IN_FLIGHT: Final = 10_000
MAX_LIMIT_MS: Final = 60_000.0
MAX_DRIFT: Final = 500


class Demands(msgspec.Struct, frozen=True, kw_only=True):
    """Raises `ConfigurationError` with the option and the rule."""

    survive: int = 1
    """So many machines may fail at once, whichever they are."""
    survive_site: bool = False
    """Instead of them, a whole site may fail, whichever it is."""
    reads: float = 0.5
    """Share of reads among the calls."""
    value_bytes: int = 256
    model: str = LINEARIZABLE
    """What reads guarantee."""
    clients: Mapping[int, float] = {}
    """Share of the calls that come from each site; 1 in all."""
    nodes: int | None = None
    """How many replicas; None: as few as will do."""
    protocol: str | None = None
    """None: whichever does better."""
    write_within_ms: float | None = None
    """Half of the writes of every site with clients must be answered within this."""
    read_within_ms: float | None = None
    clock_drift_permille: int | None = None
    """By how much the members' clocks may differ in rate, if somebody vouches for it: then leases are trusted."""
    in_flight: int = 64
    """Calls under way at once, of all clients together."""

    def __post_init__(self) -> None:
        _check("--survive", self.survive, 0, MAX_SURVIVED)
        _check("--reads", self.reads, 0, 1)
        _check("--value", self.value_bytes, 1, MAX_VALUE_BYTES)
        _check("--in-flight", self.in_flight, 1, MAX_IN_FLIGHT)
        if self.model not in MODES:
            raise ConfigurationError(f"--model is {self.model!r}: it must be one of {', '.join(MODES)}")
        if self.protocol is not None and self.protocol not in PROTOCOLS:
            raise ConfigurationError(f"--protocol is {self.protocol!r}: it must be one of {', '.join(PROTOCOLS)}")
        if self.nodes is not None:
            _check("--nodes", self.nodes, 1, MAX_REPLICAS)
        for option, limit in (("--write-within", self.write_within_ms), ("--read-within", self.read_within_ms)):
            if limit is not None:
                _check(option, limit, 0, MAX_LIMIT_MS)
        if self.clock_drift_permille is not None:
            _check("--clock-drift", self.clock_drift_permille, 0, MAX_DRIFT)

    @property
    def lease(self) -> bool:
        """Whether linearizable reads go by a lease."""
        return self.model == LINEARIZABLE and self.clock_drift_permille is not None


def _check(option: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:  # Nor is a NaN.
        raise ConfigurationError(f"{option} is {value:g}: it must be from {least:g} to {most:g}")


def parse_clients(given: str | None, network: Network) -> dict[int, float]:
    """`SITE=SHARE,...` as shares that sum up to 1; as many from each site if nothing is given.

    Raises `ConfigurationError`.
    """
    if given is None:
        return {site: 1 / len(network.sites) for site in range(len(network.sites))}
    found: dict[int, float] = {}
    for part in given.split(","):
        site, equals, share = part.strip().partition("=")
        if not equals:
            raise ConfigurationError(f"--clients: {part!r} must have the form SITE=SHARE")
        try:
            number = network.geography.number(site)
        except ConfigurationError as error:
            raise ConfigurationError(f"--clients: {error}") from None
        if number in found:
            raise ConfigurationError(f"--clients: {site!r} stands there twice")
        found[number] = _share(site, share)
    whole = sum(found.values())
    return {site: share / whole for site, share in found.items()}


def _share(site: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= 1e9:
        raise ConfigurationError(f"--clients: the share of {site!r} is {text!r}: it must be a number above 0")
    return value


def counted(number: int, what: str) -> str:
    """A number of things, for people."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
