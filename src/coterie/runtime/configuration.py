"""A node's configuration: one frozen struct, from a TOML file, the environment and flags, each
overriding the one before. docs/configuration.md lists every key."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from typing import Any

import msgspec

from coterie.core.config import MIB, MILLISECOND, ReplicaConfig
from coterie.core.errors import ConfigurationError
from coterie.core.protocols import PROTOCOLS
from coterie.engine.engine import EngineConfig
from coterie.engine.member_changes import MAX_MEMBERS as MAX_MEMBERS
from coterie.engine.member_names import NAME_RULE, legal_name
from coterie.http2 import Limits
from coterie.runtime.addresses import AddressError, split_address
from coterie.runtime.clients import ClientLimits
from coterie.runtime.peer_link import LinkLimits
from coterie.runtime.tls.files import DEFAULT_MIN_VERSION, MIN_VERSIONS

ENVIRONMENT_PREFIX = "COTERIE_"
LOG_LEVELS = ("debug", "info", "warning", "error")
DEFAULT_MACHINE = "coterie.machine.kv:KeyValue"
MAX_CONFIGURATION_BYTES = 1 * MIB
MAX_GRPC_LIMIT = 1 << 30
"""Half of what numbers in HTTP/2 can be."""

_SHARED_VARIABLES = {
    "COTERIE_ENDPOINTS",
    "COTERIE_CACERT",
    "COTERIE_CERT",
    "COTERIE_KEY",
    "COTERIE_USER",
    "COTERIE_PASSWORD",
}
"""Variables with our prefix that other commands read."""


class NodeConfiguration(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that one node is told. Times in milliseconds, sizes in bytes. Raises
    `ConfigurationError`, which names the key, the value and the rule, if a value breaks one."""

    name: str
    """The member's name, a label for people: letters, digits, `.`, `_` and `-`."""
    data: str
    """The data directory: the log and the member's id. Of this member alone."""
    protocol: str = ""
    """The consensus protocol, the same on all members. Empty: the one that the data directory was made for; of a new
    one, that of the cluster which it joins, or `DEFAULT_PROTOCOL`."""
    peer: str = "127.0.0.1:2380"
    """Where other members reach this one, `host:port`."""
    client: str = "127.0.0.1:2379"
    """Where clients reach this member, `host:port`."""
    peer_listen: str = ""
    """Where to listen for members, if not at `peer`."""
    client_listen: str = ""
    """Where to listen for clients, if not at `client`."""
    initial_members: tuple[tuple[str, str], ...] = ()
    """(name, peer address) of every first member, this one included. Empty: this member alone.
    It decides at the first start only."""
    join: str = ""
    """Client addresses of a running cluster's members, with commas between: join it as the member that was added
    under this name. It decides at the first start only; later it is checked that they are of the same cluster."""
    machine: str = DEFAULT_MACHINE
    """The state machine, `package.module:Class`; the same on all members."""
    client_cert: str = ""
    """The certificate that clients are shown, a PEM file; with its key, clients are served with TLS alone."""
    client_key: str = ""
    client_ca: str = ""
    """Clients must show a certificate of one of these CAs. Empty: they are not asked for one."""
    peer_cert: str = ""
    """The certificate that members are shown, with this member's name among its DNS names; with its key and the CA,
    members speak TLS alone. All members or none."""
    peer_key: str = ""
    peer_ca: str = ""
    """Members must show a certificate of one of these CAs, with their own name."""
    tls_min_version: str = DEFAULT_MIN_VERSION
    """The oldest TLS that is spoken: 1.3 or 1.2."""
    election_timeout_ms: int = 1000
    heartbeat_interval_ms: int = 150
    request_timeout_ms: int = 5000
    stop_timeout_ms: int = 10_000
    """How long a stopping node waits for the requests that are under way."""
    client_stall_timeout_ms: int = 30_000
    """How long a client may leave its answers unread before it is cut off."""
    max_client_connections: int = 4096
    max_client_in_flight: int = 8192
    """Requests of one connection taken and not yet answered; beyond, nothing is read from it."""
    max_client_output_bytes: int = 64 * MIB
    """Unsent answers to one client; beyond, it is cut off."""
    max_grpc_streams: int = 16_384
    """Calls under way on one connection of gRPC's; one more is refused in the way that clients try again."""
    max_grpc_message_bytes: int = 2 * MIB
    """Of one message of a client's, also when decompressed; etcd's own default, its 1.5 MiB rounded up."""
    max_peer_queue_messages: int = 8192
    max_peer_queue_bytes: int = 32 * MIB
    """Messages that wait for one slow member; beyond, the newest are dropped."""
    max_uncommitted_bytes: int = 64 * MIB
    max_inflight_messages: int = 256
    max_inflight_bytes: int = 16 * MIB
    max_append_bytes: int = 1 * MIB
    max_cached_bytes: int = 32 * MIB
    max_batch_bytes: int = 1 * MIB
    max_batch_commands: int = 8192
    max_pending_requests: int = 65536
    log_level: str = "info"

    def __post_init__(self) -> None:
        for key in _TEXTS:
            if not isinstance(getattr(self, key), str):
                _wrong(key, getattr(self, key), "it must be text")
        _check_name("name", self.name)
        if not self.data:
            _wrong("data", self.data, "it must name a directory")
        if self.protocol:
            _check_choice("protocol", self.protocol, PROTOCOLS)
        _check_choice("log_level", self.log_level, LOG_LEVELS)
        for key in ("peer", "client"):
            _check_address(key, getattr(self, key), optional=False)
        for key in ("peer_listen", "client_listen"):
            _check_address(key, getattr(self, key), optional=True)
        for address in self.join_endpoints:
            _check_address("join", address, optional=False)
        if self.join and self.initial_members:
            _wrong("join", self.join, "a node either joins a cluster or starts one with initial_members, not both")
        self._check_tls()
        if ":" not in self.machine:
            _wrong("machine", self.machine, "it must have the form package.module:Class")
        for key in self.__struct_fields__:
            value = getattr(self, key)
            number = key.endswith("_ms") or key.startswith("max_")
            if number and (type(value) is not int or not 0 < value <= 2**53):
                _wrong(key, value, "it must be a whole number above 0")
        for key in ("max_grpc_streams", "max_grpc_message_bytes"):
            if getattr(self, key) > MAX_GRPC_LIMIT:
                _wrong(key, getattr(self, key), f"it must be at most {MAX_GRPC_LIMIT}")
        if self.heartbeat_interval_ms * 2 > self.election_timeout_ms:
            _wrong(
                "heartbeat_interval_ms",
                self.heartbeat_interval_ms,
                f"it must be at most half of election_timeout_ms ({self.election_timeout_ms})",
            )
        self._check_members()

    def _check_tls(self) -> None:
        """All files of a side or none; what is in them is looked at when the node starts."""
        _check_choice("tls_min_version", self.tls_min_version, tuple(MIN_VERSIONS))
        for side, needed in (("client", ("cert", "key")), ("peer", ("cert", "key", "ca"))):
            keys = [f"{side}_{what}" for what in needed]
            given = [key for key in (*keys, f"{side}_ca") if getattr(self, key)]
            for key in keys:
                if given and not getattr(self, key):
                    _wrong(key, "", f"with {given[0]} it must name a file, too; or leave all of {side}_* out")

    def _check_members(self) -> None:
        seen: dict[str, str] = {}
        if len(self.initial_members) > MAX_MEMBERS:
            _wrong("initial_members", len(self.initial_members), f"there may be at most {MAX_MEMBERS} members")
        for name, address in self.initial_members:
            _check_name("initial_members", name)
            _check_address("initial_members", address, optional=False)
            if name in seen:
                _wrong("initial_members", name, "each name may stand there once")
            if address in seen.values():
                _wrong("initial_members", address, "each address may stand there once")
            seen[name] = address
        if self.initial_members and seen.get(self.name) != self.peer:
            _wrong(
                "initial_members",
                ",".join(f"{name}={address}" for name, address in self.initial_members),
                f"this member must stand there with its own peer address, as {self.name}={self.peer}",
            )

    @property
    def members(self) -> tuple[tuple[str, str], ...]:
        """(name, peer address) of the first members; this one alone if none are named."""
        return self.initial_members or ((self.name, self.peer),)

    @property
    def join_endpoints(self) -> tuple[str, ...]:
        """The addresses in `join`; none if it is empty."""
        return tuple(part.strip() for part in self.join.split(",") if part.strip())

    def engine(self) -> EngineConfig:
        """The part that the engine and the replica need."""
        return EngineConfig(
            replica=ReplicaConfig(
                election_timeout=self.election_timeout_ms * MILLISECOND,
                heartbeat_interval=self.heartbeat_interval_ms * MILLISECOND,
                max_uncommitted_bytes=self.max_uncommitted_bytes,
                max_inflight_messages=self.max_inflight_messages,
                max_inflight_bytes=self.max_inflight_bytes,
                max_append_bytes=self.max_append_bytes,
                max_cached_bytes=self.max_cached_bytes,
            ),
            request_timeout=self.request_timeout_ms * MILLISECOND,
            max_batch_bytes=self.max_batch_bytes,
            max_batch_commands=self.max_batch_commands,
            max_pending_requests=self.max_pending_requests,
        )

    def links(self) -> LinkLimits:
        """The part that the links to other members need."""
        return LinkLimits(max_queue_messages=self.max_peer_queue_messages, max_queue_bytes=self.max_peer_queue_bytes)

    def clients(self) -> ClientLimits:
        """The part that the clients' port needs."""
        return ClientLimits(
            max_connections=self.max_client_connections,
            max_in_flight=self.max_client_in_flight,
            max_output_bytes=self.max_client_output_bytes,
            stall_timeout_s=self.client_stall_timeout_ms / 1000,
        )

    def grpc(self) -> Limits:
        """The part that the connections of gRPC need."""
        return Limits(
            max_streams=self.max_grpc_streams,
            max_message_bytes=self.max_grpc_message_bytes,
            max_received_bytes=max(Limits().max_received_bytes, 4 * self.max_grpc_message_bytes),
            max_unsent_stream_bytes=self.max_client_output_bytes,
            max_unsent_bytes=4 * self.max_client_output_bytes,
            stall_timeout=self.client_stall_timeout_ms * MILLISECOND,
        )


KEYS: tuple[str, ...] = NodeConfiguration.__struct_fields__
_TEXTS = tuple(field.name for field in msgspec.structs.fields(NodeConfiguration) if field.type is str)
_INTEGERS = {field.name for field in msgspec.structs.fields(NodeConfiguration) if field.type is int}


def _error(key: str, value: object, rule: str) -> ConfigurationError:
    return ConfigurationError(f"{key} is {value!r}: {rule}")


def _wrong(key: str, value: object, rule: str) -> None:
    raise _error(key, value, rule)


def _check_name(key: str, name: object) -> None:
    if not isinstance(name, str) or not legal_name(name):
        _wrong(key, name, NAME_RULE)


def _check_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        _wrong(key, value, f"it must be one of: {', '.join(choices)}")


def _check_address(key: str, value: str, *, optional: bool) -> None:
    if optional and not value:
        return
    try:
        _, port = split_address(value)
    except AddressError:
        port = -1
    if port < 0 or (port == 0 and not optional):
        _wrong(key, value, f"an address is host:port with a port from {0 if optional else 1} to 65535")


def parse_members(key: str, value: object) -> tuple[tuple[str, str], ...]:
    """Members from a table, a list of `name=host:port`, or one string of those with commas between.

    Raises `ConfigurationError`.
    """
    rule = "it must be a list of name=host:port"
    if isinstance(value, Mapping):
        pairs: list[tuple[object, object]] = list(value.items())
    else:
        parts: object = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            raise _error(key, value, rule)
        pairs = []
        for part in parts:
            if isinstance(part, list | tuple) and len(part) == 2:
                pairs.append((part[0], part[1]))
                continue
            if not isinstance(part, str) or "=" not in part:
                raise _error(key, part, rule)
            label, _, where = part.strip().partition("=")
            pairs.append((label, where))
    members: list[tuple[str, str]] = []
    for name, address in pairs:
        if not isinstance(name, str) or not isinstance(address, str):
            raise _error(key, value, rule)
        members.append((name, address))
    return tuple(members)


def _typed(key: str, value: object, source: str) -> object:
    """A value of the key's type. Text from the environment or a flag is converted."""
    try:
        if key == "initial_members":
            return parse_members(key, value)
        if key in _INTEGERS:
            if isinstance(value, str):
                digits = value.strip().replace("_", "")
                if not (digits.isascii() and digits.isdigit() and len(digits) < 18):
                    _wrong(key, value, "it must be a whole number above 0")
                return int(digits)
            if type(value) is not int:
                _wrong(key, value, "it must be a whole number above 0")
            return value
        if not isinstance(value, str):
            _wrong(key, value, "it must be text")
        return value
    except ConfigurationError as error:
        raise ConfigurationError(f"{source}: {error}") from error


def _unknown(key: str, source: str, shown: str) -> ConfigurationError:
    near = difflib.get_close_matches(key, KEYS, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else f"; the keys are: {', '.join(KEYS)}"
    return ConfigurationError(f"{source}: {shown!r} is not a configuration key{hint}")


def read_file(path: str) -> dict[str, object]:
    """The keys of a TOML file. Raises `ConfigurationError`: unreadable, not TOML, an unknown key."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_CONFIGURATION_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"cannot read the configuration file {path}: {error.strerror}") from error
    if len(data) > MAX_CONFIGURATION_BYTES:
        raise ConfigurationError(f"{path} is larger than {MAX_CONFIGURATION_BYTES} bytes")
    try:
        table = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from error
    for key in table:
        if key not in KEYS:
            raise _unknown(key, path, key)
    return table


def read_environment(environment: Mapping[str, str]) -> dict[str, object]:
    """The keys in `COTERIE_*` variables (`COTERIE_PEER_LISTEN` is `peer_listen`). Raises
    `ConfigurationError` for one that is no key."""
    found: dict[str, object] = {}
    for variable, value in sorted(environment.items()):
        if variable.startswith(ENVIRONMENT_PREFIX) and variable not in _SHARED_VARIABLES:
            key = variable[len(ENVIRONMENT_PREFIX) :].lower()
            if key not in KEYS:
                raise _unknown(key, "environment", variable)
            found[key] = value
    return found


def configure(
    *,
    file: str | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> NodeConfiguration:
    """The configuration from a file, then the environment (the process's own if None), then flags that
    are not None. Raises `ConfigurationError`."""
    sources: list[tuple[str, Mapping[str, object]]] = []
    if file is not None:
        sources.append((file, read_file(file)))
    sources.append(("environment", read_environment(os.environ if environment is None else environment)))
    given = {key: value for key, value in (flags or {}).items() if value is not None}
    for key in given:
        if key not in KEYS:
            raise _unknown(key, "flags", key)
    sources.append(("flags", given))
    values: dict[str, Any] = {}
    for source, table in sources:
        for key, value in table.items():
            values[key] = _typed(key, value, source)
    for key in ("name", "data"):
        if key not in values:
            raise ConfigurationError(
                f"{key} is not set: give it in the configuration file, as {ENVIRONMENT_PREFIX}{key.upper()} or as "
                f"--{key}"
            )
    return NodeConfiguration(**values)
