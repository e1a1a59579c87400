"""Pages in a real browser: Chromium without a window, driven by the DevTools protocol over a pair of pipes.

https://chromedevtools.github.io/devtools-protocol/: with `--remote-debugging-pipe` Chromium reads commands from file
descriptor 3 and writes answers and events to 4, each a JSON object and a zero byte. So no port is open, and no library
is needed.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import signal
import time
from pathlib import Path
from typing import Any, Final

import msgspec

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE_S: Final = 60.0
WIDTH, HEIGHT = 1200, 900
_FLAGS: Final = (
    "--headless",
    "--remote-debugging-pipe",
    "--no-sandbox",  # Root has none; and what is shown is our own.
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-background-networking",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND",  # What a page asks of the network is seen, and fails.
    f"--window-size={WIDTH},{HEIGHT}",
)
_LOOK: Final = """
(() => {
  const outside = [], covered = [];
  for (const drawing of document.querySelectorAll("svg")) {
    const frame = drawing.getBoundingClientRect();
    const placed = [];
    for (const text of drawing.querySelectorAll("text")) {
      const box = text.getBoundingClientRect();
      if (box.width === 0) continue;
      for (const [other, words] of placed) {
        const across = Math.min(box.right, other.right) - Math.max(box.left, other.left);
        const down = Math.min(box.bottom, other.bottom) - Math.max(box.top, other.top);
        if (across > 3 && down > 5) covered.push(words + " | " + text.textContent);
      }
      placed.push([box, text.textContent]);
      if (box.left < frame.left - 2 || box.right > frame.right + 2 ||
          box.top < frame.top - 2 || box.bottom > frame.bottom + 2) outside.push(text.textContent);
    }
  }
  const drawings = [...document.querySelectorAll("svg")].map(one => {
    const box = one.getBoundingClientRect();
    return [Math.round(box.width), Math.round(box.height)];
  });
  return {
    title: document.title,
    root: document.documentElement.localName,
    text: (document.body || document.documentElement).innerText || document.documentElement.textContent,
    headings: [...document.querySelectorAll("h1, h2")].map(one => one.textContent),
    rows: document.querySelectorAll("tr").length,
    drawings,
    outside,
    covered,
    wide: document.documentElement.scrollWidth > innerWidth,
    broken: [...document.querySelectorAll("parsererror")].map(one => one.textContent),
  };
})()
"""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What a page was when it had loaded."""

    title: str
    root: str
    """Of the document: `html`, `svg`; something else if it could not be read as that."""
    text: str
    headings: list[str]
    rows: int
    drawings: list[tuple[int, int]]
    """Width and height on the screen, in pixels, of each."""
    outside: list[str]
    """Words in drawings that are cut off, for they do not lie within them."""
    covered: list[str]
    """Pairs of words in drawings that lie on each other."""
    wide: bool
    """One must scroll sideways to see all of it."""
    requests: list[str]
    """What was asked for, the page itself among it; what is in the page itself (`data:`) is not asked for."""
    complaints: list[str]
    """Exceptions, what the console was told that is a warning or worse, and what could not be parsed."""


def find() -> str | None:
    """Where the browser is; None if there is none."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


class Browser:
    """One process, for many pages."""

    def __init__(self, path: str, home: Path) -> None:
        self._number = 0
        self._read = b""
        self._events: list[dict[str, Any]] = []
        theirs_in, self._in = os.pipe()
        self._out, theirs_out = os.pipe()
        # Above 4, lest the one that is put in its place first takes the other's.
        high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (theirs_in, theirs_out)]
        log = os.open(home / "browser.log", os.O_WRONLY | os.O_CREAT, 0o600)
        self._pid = os.posix_spawn(
            path,
            [path, *_FLAGS, f"--user-data-dir={home / 'profile'}", "about:blank"],
            {**os.environ, "HOME": str(home)},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, high[0], 3),
                (os.POSIX_SPAWN_DUP2, high[1], 4),
                (os.POSIX_SPAWN_DUP2, log, 1),
                (os.POSIX_SPAWN_DUP2, log, 2),
            ],
            setpgroup=0,
        )
        for end in (theirs_in, theirs_out, *high, log):
            os.close(end)

    def close(self) -> None:
        """End it, and all its processes."""
        os.killpg(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._in)
        os.close(self._out)

    def open(self, page: Path) -> Seen:
        """Load a file in a tab of its own, and look at it when it has loaded and was painted."""
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._ask(f"{domain}.enable", session)
        self._events.clear()
        failed = self._ask("Page.navigate", session, url=page.as_uri()).get("errorText")
        assert not failed, f"{page}: {failed}"
        self._wait("Page.loadEventFired", session)
        painted = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"
        self._ask("Runtime.evaluate", session, expression=painted, awaitPromise=True)
        looked = self._ask("Runtime.evaluate", session, expression=_LOOK, returnByValue=True)
        events = [event for event in self._events if event.get("sessionId") == session]
        self._ask("Target.closeTarget", targetId=target)
        found: dict[str, Any] = looked["result"]["value"]
        found["requests"], found["complaints"] = _requests(events), _complaints(events) + found.pop("broken")
        return msgspec.convert(found, Seen)

    def _ask(self, method: str, session: str | None = None, **parameters: object) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._in, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._hear(method)
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                assert "exceptionDetails" not in result, f"{method}: {result['exceptionDetails']}"
                return result

    def _wait(self, event: str, session: str) -> None:
        while not any(e["method"] == event and e.get("sessionId") == session for e in self._events):
            self._hear(event)

    def _hear(self, what_for: str) -> dict[str, Any]:
        """The next message; events are kept, too."""
        deadline = time.monotonic() + PATIENCE_S
        while b"\0" not in self._read:
            ready, _, _ = select.select([self._out], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"the browser says nothing for {PATIENCE_S:g} s; it was to do {what_for}"
            more = os.read(self._out, 1 << 16)
            assert more, f"the browser has ended; it was to do {what_for}"
            self._read += more
        line, _, self._read = self._read.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        if "method" in message:
            self._events.append(message)
        return message


def _requests(events: list[dict[str, Any]]) -> list[str]:
    asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    return [url for url in asked if not url.startswith("data:")]


def _complaints(events: list[dict[str, Any]]) -> list[str]:
    found = []
    for event in events:
        said = event["params"]
        if event["method"] == "Runtime.exceptionThrown":
            found.append(json.dumps(said["exceptionDetails"]))
        elif event["method"] == "Runtime.consoleAPICalled" and said["type"] in ("error", "warning", "assert"):
            found.append(json.dumps(said["args"]))
        elif event["method"] == "Log.entryAdded" and said["entry"]["level"] in ("error", "warning"):
            found.append(f"{said['entry']['source']}: {said['entry']['text']}")
    return found
