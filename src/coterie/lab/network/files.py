"""Networks in TOML: reading with errors that name the field and the rule, and writing."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from coterie.core.errors import ConfigurationError
from coterie.lab.network.network import DEFAULT_BANDWIDTH_MBIT, Network, Rates
from coterie.lab.stage.geography import Geography

MAX_FILE_BYTES: Final = 1 << 20
KEYS: Final = (
    "sites",
    "round_trip_ms",
    "one_way",
    "jitter",
    "disk_ms",
    "disk_p99_ms",
    "bandwidth_mbit",
    "machines",
    "addresses",
    "estimated",
    "rates",
    "source",
    "date",
    "approximate",
)
_NUMBERS: Final = ("jitter", "disk_ms", "disk_p99_ms", "bandwidth_mbit")
_FLAGS: Final = ("one_way", "approximate")
_TEXTS: Final = ("source", "date")


def shipped() -> tuple[str, ...]:
    """The names of the networks that come with the package."""
    found = files("coterie.lab").joinpath("geographies").iterdir()
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in found if entry.name.endswith(".toml")))


def read_network(where: str) -> Network:
    """A network that ships, by its name, or one of a file. Raises `ConfigurationError`."""
    if where in shipped():
        text = files("coterie.lab").joinpath("geographies", f"{where}.toml").read_text(encoding="utf-8")
        return parse_network(text, where)
    path = Path(where)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(
            f"--network {where}: {error.strerror}; give a TOML file, or one of those that ship: {', '.join(shipped())}"
        ) from None
    if len(data) > MAX_FILE_BYTES:
        raise ConfigurationError(f"--network {where}: it is larger than {MAX_FILE_BYTES} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ConfigurationError(f"--network {where}: it is not UTF-8") from None
    return parse_network(text, where)


def parse_network(text: str, name: str) -> Network:
    """A network from TOML. `name` stands in errors. Raises `ConfigurationError`."""
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigurationError(f"{name} is not TOML: {error}") from None
    for key in table:
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"the keys are: {', '.join(KEYS)}"
            raise ConfigurationError(f"{name}: {key!r} is no key of a network; {hint}")
    for key in ("sites", "round_trip_ms"):
        if key not in table:
            raise ConfigurationError(f"{name}: {key} is missing: a network has at least sites and round_trip_ms")
    try:
        return _network(table, name)
    except ConfigurationError as error:
        raise ConfigurationError(f"{name}: {error}") from None


def _network(table: Mapping[str, Any], name: str) -> Network:
    sites = _texts("sites", table["sites"])
    rows = tuple(_numbers(f"round_trip_ms, row {i}", row) for i, row in enumerate(_list(table, "round_trip_ms"), 1))
    plain: dict[str, Any] = {key: _number(key, table[key]) for key in _NUMBERS if key in table}
    plain |= {key: _typed(key, table[key], bool, "true or false") for key in _FLAGS if key in table}
    plain |= {key: _typed(key, table[key], str, "text") for key in _TEXTS if key in table}
    geography = Geography(
        sites=sites,
        round_trip_ms=rows,
        **{key: plain.pop(key) for key in ("one_way", "jitter", "disk_ms") if key in plain},
    )
    return Network(
        name=name,
        geography=geography,
        machines=_machines(table, sites),
        addresses=_addresses(table, sites),
        estimated=tuple(_pair(pair) for pair in _list(table, "estimated")),
        rates=_rates(table.get("rates", {})),
        **plain,
    )


def _machines(table: Mapping[str, Any], sites: tuple[str, ...]) -> tuple[int, ...]:
    """One number for all sites, or one for each."""
    given = table.get("machines")
    if given is None:
        return ()
    if type(given) is int:
        return (given,) * len(sites)
    return tuple(
        _typed("machines", count, int, "a whole number, or a list of them") for count in _list(table, "machines")
    )


def _addresses(table: Mapping[str, Any], sites: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    given = table.get("addresses")
    if given is None:
        return ()
    if not isinstance(given, dict):
        raise ConfigurationError(f"addresses is {given!r}: it must be a table: site = [host:port, ...]")
    for site in given:
        if site not in sites:
            raise ConfigurationError(f"addresses: {site!r} is no site of this network: {', '.join(sites)}")
    return tuple(_texts(f"addresses of {site!r}", given.get(site, [])) for site in sites)


def _rates(given: object) -> Rates:
    if not isinstance(given, dict):
        raise ConfigurationError(f"rates is {given!r}: it must be a table")
    for key in given:
        if key not in Rates.__struct_fields__:
            raise ConfigurationError(f"rates: {key!r} is no rate: {', '.join(Rates.__struct_fields__)}")
    return Rates(**{key: _number(f"rates: {key}", value) for key, value in given.items()})


# -- values of the right kind ---------------------------------------------------------------------


def _list(table: Mapping[str, Any], key: str) -> list[Any]:
    found: list[Any] = _typed(key, table.get(key, []), list, "a list")
    return found


def _typed(key: str, value: object, kind: type[Any], words: str) -> Any:
    if type(value) is not kind:
        raise ConfigurationError(f"{key} is {value!r}: it must be {words}")
    return value


def _number(key: str, value: object) -> float:
    if type(value) is int or type(value) is float:
        return float(value)
    raise ConfigurationError(f"{key} is {value!r}: it must be a number")


def _numbers(key: str, value: object) -> tuple[float, ...]:
    if not isinstance(value, list):
        raise ConfigurationError(f"{key} is {value!r}: it must be a list of numbers")
    return tuple(_number(key, one) for one in value)


def _texts(key: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise ConfigurationError(f"{key} is {value!r}: it must be a list of names")
    return tuple(value)


def _pair(value: object) -> tuple[str, str]:
    if not isinstance(value, list) or len(value) != 2 or not all(isinstance(one, str) for one in value):
        raise ConfigurationError(f"estimated: {value!r} is no pair of sites")
    return value[0], value[1]


# -- writing --------------------------------------------------------------------------------------


def as_toml(network: Network, comment: str = "") -> str:
    """The file that `parse_network` reads. Text and numbers in TOML are as JSON has them."""
    geography = network.geography
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    lines += [f"{key} = {json.dumps(getattr(network, key))}" for key in _TEXTS if getattr(network, key)]
    lines += [f"{key} = true" for key in ("approximate",) if network.approximate]
    lines += ["one_way = true"] * geography.one_way
    lines += [f"disk_ms = {geography.disk_ms:.6g}", f"jitter = {geography.jitter:.6g}"]
    if network.disk_p99_ms:
        lines.append(f"disk_p99_ms = {network.disk_p99_ms:.6g}")
    if network.bandwidth_mbit != DEFAULT_BANDWIDTH_MBIT:
        lines.append(f"bandwidth_mbit = {network.bandwidth_mbit:.6g}")
    if network.machines:
        lines.append(f"machines = {list(network.machines)}")
    lines += [f"sites = {json.dumps(list(network.sites))}", "round_trip_ms = ["]
    for site, row in zip(network.sites, geography.round_trip_ms, strict=True):
        lines.append(f"  [{', '.join(f'{value:.6g}' for value in row)}],  # {json.dumps(site)}")
    lines.append("]")
    if network.estimated:
        lines.append(f"estimated = {json.dumps([list(pair) for pair in network.estimated])}")
    if any(network.addresses):
        lines += ["", "[addresses]"]
        pairs = zip(network.sites, network.addresses, strict=True)
        lines += [f"{json.dumps(site)} = {json.dumps(list(hosts))}" for site, hosts in pairs if hosts]
    if network.rates != Rates():
        lines += ["", "[rates]"]
        lines += [f"{key} = {getattr(network.rates, key):.6g}" for key in Rates.__struct_fields__]
    return "\n".join(lines) + "\n"
