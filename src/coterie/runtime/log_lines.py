"""Log lines: time, level, event, fields. Bounded in rate, so that a hostile peer cannot fill the disk."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import TextIO

LINES_PER_SECOND = 20
"""Lines of one event in one second; of the rest only the number is told."""

logger = logging.getLogger("coterie")


class LineFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.123Z INFO event key=value ...` (UTC)."""

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = f"{stamp}.{int(record.msecs):03d}Z {record.levelname} {record.getMessage()}"
        if record.exc_info:
            line = f"{line}\n{self.formatException(record.exc_info)}"
        return line


def log_to(stream: TextIO = sys.stderr, level: int = logging.INFO) -> logging.Handler:
    """Send Coterie's log lines to `stream`; for programs, not for libraries. Returns the handler."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LineFormatter())
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False
    return handler


def _quoted(value: object) -> str:
    text = str(value)
    if text and not any(c.isspace() or c in '"=' or not c.isprintable() for c in text):
        return text
    return json.dumps(text)


class Lines:
    """Writes the log lines of one node."""

    def __init__(self, node: str) -> None:
        """`node`: the node's name, which stands on every line."""
        self._node = node
        self._second = 0
        self._count: dict[str, int] = {}

    def _write(self, level: int, event: str, fields: dict[str, object]) -> None:
        if not logger.isEnabledFor(level):
            return
        second = int(time.monotonic())
        if second != self._second:
            self._second = second
            for name, count in self._count.items():
                if count > LINES_PER_SECOND:
                    logger.warning(
                        "lines-left-out node=%s event=%s count=%d", self._node, name, count - LINES_PER_SECOND
                    )
            self._count.clear()
        count = self._count[event] = self._count.get(event, 0) + 1
        if count > LINES_PER_SECOND:
            return
        told = "".join(f" {key}={_quoted(value)}" for key, value in fields.items())
        logger.log(level, "%s node=%s%s", event, self._node, told)

    def info(self, event: str, **fields: object) -> None:
        """Something that people may want to know."""
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Something that people should look at."""
        self._write(logging.WARNING, event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Something that people must act on."""
        self._write(logging.ERROR, event, fields)
