"""A process that asks on one side of a partition: `python -m coterie.lab.cap.caller ADDRESS`, started on the host that
it asks from.

A line of its standard input is a question, as JSON; a line of its standard output is what became of one. Each `client`
is a client of its own, with its own session, and asks one thing at a time; different ones ask at the same time.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec

from coterie.client.blocking import Client, connect
from coterie.client.config import ClientConfig
from coterie.client.errors import RequestError
from coterie.core.config import MILLISECOND
from coterie.core.errors import Effect

MOST_CLIENTS: Final = 16
CONFIG: Final = ClientConfig(
    name="coterie-lab-cap",
    follow_members=False,
    attempt_timeout=60_000 * MILLISECOND,
    quiet_timeout=60_000 * MILLISECOND,
    silent_timeout=120_000 * MILLISECOND,
)
"""It asks its one member and no other, and waits for what that says."""


class Question(msgspec.Struct, frozen=True):
    """What to ask."""

    id: int
    client: str
    f: str
    """`write` or `read`."""
    key: str
    value: str = ""
    mode: str = ""
    """Of a read: `linearizable`, `session` or `stale`."""
    at_least: int = 0
    """Of a session read: a revision that it has heard of elsewhere."""
    session: bool = True
    """Of a write: in the client's session, so that it can be sent again."""
    timeout_s: float = 5.5


class Told(msgspec.Struct, frozen=True):
    """What became of it. Times are nanoseconds of this machine's monotonic clock."""

    id: int
    start: int
    end: int
    ok: bool
    unknown: bool
    """A write that may have happened."""
    value: str | None
    revision: int
    """The newest that the client has seen."""
    message: str
    """Of the product, if it was refused."""


class Caller:
    """Clients of one member."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._clients: dict[str, Client] = {}

    def ask(self, question: Question) -> Told:
        """Ask, and wait."""
        client = self._clients.get(question.client)
        if client is None:
            client = self._clients[question.client] = connect(self._address, CONFIG)
        value: str | None = None
        start = time.monotonic_ns()
        try:
            if question.f == "write":
                client.put(question.key, question.value, session=question.session, timeout=question.timeout_s)
            else:
                value = _read(client, question)
        except RequestError as error:
            unknown = question.f == "write" and error.effect is not Effect.NO
            end = time.monotonic_ns()
            return Told(question.id, start, end, False, unknown, None, client.revision, str(error))
        return Told(question.id, start, time.monotonic_ns(), True, False, value, client.revision, "")

    def close(self) -> None:
        """Close every client."""
        for client in self._clients.values():
            with contextlib.suppress(RequestError):
                client.close()


def _read(client: Client, question: Question) -> str | None:
    timeout = question.timeout_s
    if question.mode == "session":
        at_least = max(client.revision, question.at_least)
        item = client.get(question.key, at_least=at_least, timeout=timeout)
    else:
        item = client.get(question.key, stale=question.mode == "stale", timeout=timeout)
    return item.value.decode() if item is not None else None


def main() -> None:
    """Answer until the input ends."""
    caller = Caller(sys.argv[1])
    output = threading.Lock()

    def answer(line: bytes) -> None:
        told = caller.ask(msgspec.json.decode(line, type=Question))
        with output:
            sys.stdout.buffer.write(msgspec.json.encode(told) + b"\n")
            sys.stdout.buffer.flush()

    with ThreadPoolExecutor(MOST_CLIENTS) as threads:
        pending = [threads.submit(answer, line) for line in sys.stdin.buffer if line.strip()]
    for one in pending:
        one.result()
    caller.close()


if __name__ == "__main__":
    main()
