"""Consensus for Python."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coterie.core.errors import CoterieError as CoterieError
    from coterie.core.errors import Effect as Effect
    from coterie.engine.protocol import ReadMode as ReadMode
    from coterie.machine.interface import Batch as Batch
    from coterie.machine.interface import Rejected as Rejected
    from coterie.machine.interface import StateMachine as StateMachine
    from coterie.runtime.configuration import NodeConfiguration as NodeConfiguration
    from coterie.runtime.configuration import configure as configure
    from coterie.runtime.errors import NodeStopped as NodeStopped
    from coterie.runtime.errors import RequestFailed as RequestFailed
    from coterie.runtime.errors import StartFailed as StartFailed
    from coterie.runtime.node import Node as Node
    from coterie.runtime.sync_node import SyncNode as SyncNode

__version__ = "0.1.0"

_HOMES = {
    "Batch": "coterie.machine.interface",
    "CoterieError": "coterie.core.errors",
    "Effect": "coterie.core.errors",
    "Node": "coterie.runtime.node",
    "NodeConfiguration": "coterie.runtime.configuration",
    "NodeStopped": "coterie.runtime.errors",
    "ReadMode": "coterie.engine.protocol",
    "Rejected": "coterie.machine.interface",
    "RequestFailed": "coterie.runtime.errors",
    "StartFailed": "coterie.runtime.errors",
    "StateMachine": "coterie.machine.interface",
    "SyncNode": "coterie.runtime.sync_node",
    "configure": "coterie.runtime.configuration",
}
"""Where each public name lives. Loaded when first used, so that the command line starts fast."""


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'coterie' has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
