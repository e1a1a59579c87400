"""Certificates in use: read at the start, read again when their files change, watched for their end.

A new file counts from the next handshake on; connections that stand are left alone. One that is broken is told and not
used: what was read before stays.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from coterie.core.errors import ConfigurationError
from coterie.runtime.log_lines import Lines
from coterie.runtime.tls.files import TlsFiles, client_context, examine, server_context

LOOK_INTERVAL_S = 1.0
"""Between two looks at the files. One that has changed is read once two looks saw the same: a certificate and its key
are two files, and are not replaced at once."""
WARN_BEFORE = timedelta(days=30)
"""A certificate that ends within this is told of, once a day."""

Signature = tuple[tuple[int, int, int] | None, ...]


def signature(files: TlsFiles) -> Signature:
    """What tells a changed file: (modified, size, inode) of each; None for one that is not there."""
    found: list[tuple[int, int, int] | None] = []
    for path in files.paths:
        try:
            about = os.stat(path)
        except OSError:
            found.append(None)
        else:
            found.append((about.st_mtime_ns, about.st_size, about.st_ino))
    return tuple(found)


class TlsSide:
    """One port of a node: how it is served, and how the same port of other members is dialled."""

    def __init__(
        self,
        files: TlsFiles,
        lines: Lines,
        protocols: Sequence[str],
        *,
        dial: TlsFiles | None = None,
        member: str = "",
        shown_as_client: bool = False,
        check_host: bool = False,
    ) -> None:
        """`dial`: files for dialling, if they are others; `check_host`: see `client_context`. `member`: the name that
        the certificate must carry. Raises `ConfigurationError`."""
        self._files = files
        self._dial = dial or files
        self._lines = lines
        self._protocols = tuple(protocols)
        self._member = member
        self._shown_as_client = shown_as_client
        self._check_host = check_host
        self._told: dict[str, date] = {}
        """When the end of each certificate was last told of, by label."""
        self._ends: tuple[tuple[str, str, datetime], ...] = ()
        self._read = self._seen = signature(files)
        self.server: ssl.SSLContext
        """For connections that are taken from now on."""
        self.client: ssl.SSLContext
        """For connections that are dialled from now on."""
        self._load()

    def look(self) -> None:
        """See whether the files have changed, and read them if so. For a thread of its own: a disk may be slow."""
        found = signature(self._files)
        if found != self._read and found == self._seen:
            self._read = found
            try:
                self._load()
            except ConfigurationError as error:
                self._lines.error("certificate-not-taken", problem=error, text="what was read before stays in use")
            else:
                self._lines.info("certificate-read", files=",".join(self._files.paths))
        self._seen = found
        self._tell_ends()

    def _load(self) -> None:
        examined = examine(self._files, member=self._member, client=self._shown_as_client)
        server = server_context(self._files, self._protocols)
        client = client_context(self._dial, self._protocols, check_host=self._check_host)
        self.server, self.client = server, client
        self._ends = examined.ends
        self._told.clear()
        for hint in examined.hints:
            self._lines.warning("certificate-hint", text=hint)
        self._tell_ends()

    def _tell_ends(self) -> None:
        now = datetime.now(UTC)
        for label, path, end in self._ends:
            left = end - now
            if left > WARN_BEFORE or self._told.get(label) == now.date():
                continue
            self._told[label] = now.date()
            on = f"{end:%Y-%m-%dT%H:%MZ}"
            if left > timedelta(0):
                text = "renew it: a changed file is read without a restart"
                self._lines.warning("certificate-ends", key=label, file=path, on=on, days=left.days, text=text)
            else:
                text = "renew it: nobody who looks at it lets this member in"
                self._lines.error("certificate-ended", key=label, file=path, on=on, text=text)


async def watch(sides: Sequence[TlsSide], interval_s: float = LOOK_INTERVAL_S) -> None:
    """Look at the files of all sides again and again, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(interval_s)
        for side in sides:
            await loop.run_in_executor(None, side.look)
