"""Consensus for Python."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coterie.client.asynchronous import AsyncClient as AsyncClient
    from coterie.client.asynchronous import connect_async as connect_async
    from coterie.client.blocking import Client as Client
    from coterie.client.blocking import connect as connect
    from coterie.client.config import ClientConfig as ClientConfig
    from coterie.client.config import Credentials as Credentials
    from coterie.client.errors import ClientClosed as ClientClosed
    from coterie.client.errors import CommandRejected as CommandRejected
    from coterie.client.errors import ConnectionLost as ConnectionLost
    from coterie.client.errors import InvalidRequest as InvalidRequest
    from coterie.client.errors import NoSpace as NoSpace
    from coterie.client.errors import NotLoggedIn as NotLoggedIn
    from coterie.client.errors import Overloaded as Overloaded
    from coterie.client.errors import ReplyForgotten as ReplyForgotten
    from coterie.client.errors import RequestError as RequestError
    from coterie.client.errors import SessionExpired as SessionExpired
    from coterie.client.errors import SessionsFull as SessionsFull
    from coterie.client.errors import TimedOut as TimedOut
    from coterie.client.errors import Unavailable as Unavailable
    from coterie.client.tls import TlsConfig as TlsConfig
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
    "AsyncClient": "coterie.client.asynchronous",
    "Batch": "coterie.machine.interface",
    "Client": "coterie.client.blocking",
    "ClientClosed": "coterie.client.errors",
    "ClientConfig": "coterie.client.config",
    "CommandRejected": "coterie.client.errors",
    "ConnectionLost": "coterie.client.errors",
    "CoterieError": "coterie.core.errors",
    "Credentials": "coterie.client.config",
    "Effect": "coterie.core.errors",
    "InvalidRequest": "coterie.client.errors",
    "NoSpace": "coterie.client.errors",
    "Node": "coterie.runtime.node",
    "NodeConfiguration": "coterie.runtime.configuration",
    "NodeStopped": "coterie.runtime.errors",
    "NotLoggedIn": "coterie.client.errors",
    "Overloaded": "coterie.client.errors",
    "ReadMode": "coterie.engine.protocol",
    "Rejected": "coterie.machine.interface",
    "ReplyForgotten": "coterie.client.errors",
    "RequestError": "coterie.client.errors",
    "RequestFailed": "coterie.runtime.errors",
    "SessionExpired": "coterie.client.errors",
    "SessionsFull": "coterie.client.errors",
    "StartFailed": "coterie.runtime.errors",
    "StateMachine": "coterie.machine.interface",
    "SyncNode": "coterie.runtime.sync_node",
    "TimedOut": "coterie.client.errors",
    "TlsConfig": "coterie.client.tls",
    "Unavailable": "coterie.client.errors",
    "configure": "coterie.runtime.configuration",
    "connect": "coterie.client.blocking",
    "connect_async": "coterie.client.asynchronous",
}
"""Where each public name lives. Loaded when first used, so that the command line starts fast."""


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'coterie' has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
