"""What the Python programs share: parts that end alone, and a counter that is raised while the leader is killed."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable

PATIENCE_S = 40.0
PAUSE_S = 0.1


class Counts:
    """A counter raised one by one: each success is one more, and a watcher sees every value once, in order."""

    def __init__(self) -> None:
        self._seen: list[int] = []
        self._news = threading.Condition()
        self.acknowledged = 0
        self.wrong: list[str] = []

    def watched(self, values: Iterable[int]) -> None:
        """A watcher was told of these."""
        with self._news:
            self._seen += values
            self._news.notify_all()

    def seen(self, last: int) -> list[int]:
        """What the watcher was told, when it has got so far."""
        with self._news:
            self._news.wait_for(lambda: bool(self._seen) and self._seen[-1] >= last, PATIENCE_S)
            return list(self._seen)

    def reach(
        self,
        raised: Callable[[int], bool],
        value: Callable[[], int],
        goal: int,
        errors: type[BaseException] | tuple[type[BaseException], ...],
    ) -> None:
        """Raise it to the goal. After an error nobody knows whether it was raised: it is read, until there is an
        answer."""
        deadline = time.monotonic() + PATIENCE_S
        while self.acknowledged < goal:
            if time.monotonic() > deadline:
                raise SystemExit(f"the counter has stood at {self.acknowledged} for long")
            try:
                if raised(self.acknowledged + 1):
                    self.acknowledged += 1
                else:
                    self._reread(value(), unknown=False)
            except errors:
                time.sleep(PAUSE_S)
                try:
                    self._reread(value(), unknown=True)
                except errors:
                    continue

    def _reread(self, found: int, unknown: bool) -> None:
        """One more than was acknowledged is right if it is not known how the last attempt ended."""
        if found not in (self.acknowledged, self.acknowledged + 1):
            self.wrong.append(f"{found} was read after {self.acknowledged} was acknowledged")
        self.acknowledged = max(self.acknowledged, found)


def guarded(part: Callable[..., None], *arguments: object) -> None:
    """Do a part of a scenario; an error ends it alone, and is printed."""
    print(f"-- {part.__name__}")
    try:
        part(*arguments)
    except Exception as error:
        traceback.print_exc()
        print(f"{part.__name__} ended: {type(error).__name__}")


def await_kill() -> None:
    """Say that the leader may be killed now; come back when it has been."""
    print("kill the leader", flush=True)
    sys.stdin.readline()


def report(counts: Counts, last: int) -> None:
    """Print what there was of wrong."""
    seen = counts.seen(last)
    print("counted to", last, "wrong", counts.wrong)
    print("watched every value once, in order:", seen == list(range(1, last + 1)) or seen)
