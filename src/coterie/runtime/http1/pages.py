"""What a node serves over HTTP/1.1: whether it is well, for probes and load balancers; what it counts; what it is.

Paths and answers are etcd's, so that probes made for etcd work: `/health`, `/livez`, `/readyz`, `/metrics`, `/version`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Final, Protocol

import msgspec

from coterie.core.errors import CoterieError
from coterie.core.types import NOBODY
from coterie.engine.protocol import FailureCode, NodeStatus, ReadMode
from coterie.runtime.errors import RequestFailed
from coterie.runtime.http1.connection import HttpReply, HttpRequest
from coterie.runtime.observation import Observation

Check = Callable[[], Awaitable[str]]
"""Says what is wrong; nothing if all is well."""

INDEX: Final = b"""\
Coterie. This port speaks the native client protocol; over HTTP it answers:
  /health   whether linearizable reads are served (?serializable=true: whether this member answers at all)
  /livez    whether this process is alive
  /readyz   whether it can serve clients (?verbose: each check; ?exclude=NAME)
  /metrics  what it counts, for Prometheus
  /version  what it is
"""
MAX_CHECKS: Final = 64
"""Health checks under way at a time: more are refused, as they wait for the same cause."""


class Patient(Protocol):
    """The node, as far as these pages look at it."""

    def status(self) -> NodeStatus:
        """What it says of itself."""
        ...

    async def query(self, question: bytes, *, mode: ReadMode) -> bytes:
        """Ask the machine."""
        ...

    def observe(self) -> Observation:
        """What its metrics are made of."""
        ...


class Others(Protocol):
    """Who serves more on the same port."""

    @property
    def versions(self) -> Mapping[str, str]:
        """What `/version` is to say of it."""
        ...

    async def answer(self, request: HttpRequest) -> HttpReply | None:
        """The answer to a request; None: it knows no such path."""
        ...


class Pages:
    """The site."""

    def __init__(self, node: Patient, others: Others | None = None) -> None:
        """`others`: asked about every path that is not known here."""
        self._node = node
        self._others = others
        self._checking = 0
        self._pages: dict[str, Callable[[HttpRequest], Awaitable[HttpReply]]] = {
            "/": self._index,
            "/health": self._health,
            "/livez": self._livez,
            "/readyz": self._readyz,
            "/metrics": self._metrics,
            "/version": self._version,
        }

    async def answer(self, request: HttpRequest) -> HttpReply:
        """See `Site.answer`."""
        page = self._pages.get(request.path)
        if page is None and self._others is not None:
            found = await self._others.answer(request)
            if found is not None:
                return found
        if page is None:
            known = ", ".join(sorted(self._pages))
            return HttpReply(status=HTTPStatus.NOT_FOUND, body=f"no such page; there are {known}\n".encode())
        if request.method not in ("GET", "HEAD"):
            allow = (("Allow", "GET, HEAD"),)
            text = f"{request.path} can only be read, with GET or HEAD\n".encode()
            return HttpReply(status=HTTPStatus.METHOD_NOT_ALLOWED, body=text, headers=allow)
        return await page(request)

    async def _index(self, _: HttpRequest) -> HttpReply:
        return HttpReply(body=INDEX)

    async def _version(self, _: HttpRequest) -> HttpReply:
        status = self._node.status()
        said = {"coterie": status.version, "protocol": status.protocol, "cluster": f"{status.cluster:016x}"}
        if self._others is not None:
            said |= self._others.versions
        return _json(said)

    async def _metrics(self, _: HttpRequest) -> HttpReply:
        # What is imported is large, and wanted only where somebody scrapes.
        metrics = await asyncio.to_thread(_import_metrics)
        body, content_type = metrics(self._node.observe())
        return HttpReply(body=body, content_type=content_type)

    async def _health(self, request: HttpRequest) -> HttpReply:
        serializable = request.query.get("serializable", "").lower() in ("1", "t", "true")
        problem = "" if serializable else await self._linearizable_read()
        status = HTTPStatus.SERVICE_UNAVAILABLE if problem else HTTPStatus.OK
        return _json({"health": "false" if problem else "true", "reason": problem}, status)

    async def _livez(self, request: HttpRequest) -> HttpReply:
        return await self._checked(request, {"serializable_read": self._serializable_read})

    async def _readyz(self, request: HttpRequest) -> HttpReply:
        checks = {
            "data_corruption": self._data_whole,
            "serializable_read": self._serializable_read,
            "linearizable_read": self._linearizable_read,
        }
        return await self._checked(request, checks)

    async def _checked(self, request: HttpRequest, checks: Mapping[str, Check]) -> HttpReply:
        """The checks, one by one, in the words of etcd (and Kubernetes)."""
        excluded = request.query.get("exclude", "").split(",")
        lines: list[str] = []
        failed = False
        for name, check in checks.items():
            if name in excluded:
                lines.append(f"[+]{name} excluded: ok")
                continue
            problem = await check()
            failed = failed or bool(problem)
            lines.append(f"[-]{name} failed: {problem}" if problem else f"[+]{name} ok")
        if failed:
            return HttpReply(status=HTTPStatus.SERVICE_UNAVAILABLE, body="\n".join([*lines, "not ok\n"]).encode())
        verbose = "verbose" in request.query
        return HttpReply(body="\n".join([*lines, "ok\n"]).encode() if verbose else b"ok\n")

    async def _serializable_read(self) -> str:
        return await self._read(ReadMode.STALE)

    async def _linearizable_read(self) -> str:
        if self._node.status().leader == NOBODY:
            return "RAFT NO LEADER"  # etcd's words, for whichever protocol: some match on them
        if self._checking >= MAX_CHECKS:
            return "too many checks wait for an answer already"
        self._checking += 1
        try:
            return await self._read(ReadMode.LINEARIZABLE)
        finally:
            self._checking -= 1

    async def _read(self, mode: ReadMode) -> str:
        """A read of nothing: that the machine refuses the question is an answer, too."""
        try:
            await self._node.query(b"", mode=mode)
        except RequestFailed as failure:
            return "" if failure.code in (FailureCode.REJECTED, FailureCode.INVALID) else str(failure)
        except CoterieError as failure:
            return str(failure)
        return ""

    async def _data_whole(self) -> str:
        until = self._node.status().repairing_until
        return f"the log was damaged, and is being repaired up to entry {until}" if until is not None else ""


def _import_metrics() -> Callable[[Observation], tuple[bytes, str]]:
    from coterie.runtime.http1.metrics import exposed

    return exposed


def _json(value: Mapping[str, str], status: HTTPStatus = HTTPStatus.OK) -> HttpReply:
    return HttpReply(status=status, content_type="application/json", body=msgspec.json.encode(value) + b"\n")
