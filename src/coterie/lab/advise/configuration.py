"""The advice as files: a TOML for each `coterie node`, and what is to be said to the cluster once it runs."""

from __future__ import annotations

import json
import re
import tempfile
from collections import Counter
from pathlib import Path
from typing import Final

import msgspec

from coterie.core.quorum import majority
from coterie.lab.advise.capacity import Capacity
from coterie.lab.advise.demands import Demands
from coterie.lab.advise.search import Plan
from coterie.lab.advise.timing import Timing
from coterie.lab.errors import LabError
from coterie.lab.network.network import Network
from coterie.runtime.addresses import AddressError, join_address, split_address
from coterie.runtime.configuration import NodeConfiguration, configure

PEER_PORT: Final = 2380
CLIENT_PORT: Final = 2379
AFTERWARDS: Final = "afterwards.sh"
_NO_NAME: Final = re.compile(r"[^A-Za-z0-9_.-]+")


class Files(msgspec.Struct, frozen=True, kw_only=True):
    """What `--write` writes."""

    nodes: dict[str, str]
    """TOML by the member's name; the leader's first."""
    afterwards: str
    """Commands, a line each."""
    placeholders: bool
    """Addresses are not known: names stand for them, to be replaced."""

    def check(self) -> list[NodeConfiguration]:
        """Let the product's own reader take every file. Raises `ConfigurationError`."""
        with tempfile.TemporaryDirectory() as directory:
            self.write(Path(directory))
            return [configure(file=str(Path(directory) / f"{name}.toml"), environment={}) for name in self.nodes]

    def write(self, directory: Path) -> None:
        """Raises `LabError` if they cannot be written."""
        try:
            directory.mkdir(parents=True, exist_ok=True)
            for name, text in self.nodes.items():
                (directory / f"{name}.toml").write_text(text, encoding="utf-8")
            (directory / AFTERWARDS).write_text(self.afterwards, encoding="utf-8")
        except OSError as error:
            raise LabError(f"--write {directory}: {error.strerror}") from None


def configuration(
    network: Network, demands: Demands, plan: Plan, timing: Timing, limits: Capacity, protocol: str
) -> Files:
    """The files of a plan."""
    names = _names(network, plan)
    addresses = [_addresses(network, plan, place) for place in range(plan.nodes)]
    members = [f"{name}={peer}" for name, (peer, _) in zip(names, addresses, strict=True)]
    nodes = {}
    for place, (name, (peer, client)) in enumerate(zip(names, addresses, strict=True)):
        site = network.sites[plan.replicas[place]]
        keys: dict[str, object] = {
            "name": name,
            "data": f"{name}.coterie",
            "protocol": protocol,
            "peer": peer,
            "client": client,
            "initial_members": members,
            "election_timeout_ms": timing.election_timeout_ms,
            "heartbeat_interval_ms": timing.heartbeat_interval_ms,
            "request_timeout_ms": timing.request_timeout_ms,
            "max_batch_bytes": limits.max_batch_bytes,
            "max_append_bytes": limits.max_batch_bytes,
            "max_inflight_bytes": limits.max_inflight_bytes,
        }
        role = ": it is to lead" if place == 0 else ""
        head = f"# coterie node --config {name}.toml     in {json.dumps(site)}{role}\n"
        nodes[name] = head + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
    return Files(
        nodes=nodes,
        afterwards=_afterwards(demands, plan, timing, names[0], [client for _, client in addresses]),
        placeholders=not any(network.addresses),
    )


def _names(network: Network, plan: Plan) -> list[str]:
    """A label for each replica: its site, with a number where the site has several."""
    labels = [_NO_NAME.sub("-", network.sites[site]).strip("-.")[:48] or "site" for site in plan.replicas]
    many, seen = Counter(labels), Counter[str]()
    names = []
    for label in labels:
        seen[label] += 1
        names.append(f"{label}-{seen[label]}" if many[label] > 1 else label)
    return names


def _addresses(network: Network, plan: Plan, place: int) -> tuple[str, str]:
    """(peer, client) of a replica. A site's machines in turn; on one machine, ports in turn."""
    site = plan.replicas[place]
    nth = plan.replicas[:place].count(site)
    known = network.addresses[site] if network.addresses else ()
    if not known:
        host = f"{_NO_NAME.sub('-', network.sites[site]).lower()}-{nth + 1}.example.net"
        return f"{host}:{PEER_PORT}", f"{host}:{CLIENT_PORT}"
    try:
        host, port = split_address(known[nth % len(known)])
    except AddressError:
        host, port = known[nth % len(known)], CLIENT_PORT
    port = (port or CLIENT_PORT) + 2 * (nth // len(known))
    return join_address(host, port + 1), join_address(host, port)


def _afterwards(demands: Demands, plan: Plan, timing: Timing, leader: str, clients: list[str]) -> str:
    endpoints = f"--endpoints {','.join(clients)}"
    lines = ["# Once, when all members run: what they share is agreed in the log, and no node's configuration."]
    usual = majority(plan.nodes)
    if (plan.phase_1, plan.phase_2) != (usual, usual):
        sizes = f"phase-1-quorum {plan.phase_1} --and phase-2-quorum {plan.phase_2}"
        lines.append(f"coterie settings set {sizes} {endpoints}")
    if demands.lease:
        lines += [
            f"coterie settings set clock-drift-permille {demands.clock_drift_permille} {endpoints}",
            f"coterie settings set lease-ms {timing.election_timeout_ms} {endpoints}",
            f"coterie settings set lease-reads true {endpoints}",
        ]
    if plan.nodes > 1:
        lines.append(f"coterie transfer {leader} {endpoints}    # again whenever another leads and this one is back")
    return "\n".join(lines) + "\n"
