"""Rows of the catalogue's section 12, about the runtime: `test_runtime_mutants.py` runs real processes of each copy."""

from __future__ import annotations

from typing import Final

from tests.mutants.planting import planted

ENGINE = "engine/engine.py"
FRAMES = "runtime/frames.py"
HANDSHAKE = "runtime/handshake.py"
NODE_LOOP = "runtime/node_loop.py"
PEER_LINK = "runtime/peer_link.py"
READS = "core/leading/reads.py"
SYNC_THREAD = "runtime/sync_thread.py"

NONE: Final = frozenset[str]()
"""No check of the simulated world names these: it has no runtime."""

RUNTIME_ROWS: Final = (
    planted(
        "A02",
        "a step of the engine may wait between what it reads and what it does",
        [(ENGINE, "    def receive(self, now", "    async def receive(self, now")],
        NONE,
    ),
    planted(
        "A03",
        "an answer that comes twice ends the node",
        [
            (
                READS,
                "        return self.pending.pop(token, None) is not None\n",
                "        del self.pending[token]\n        return True\n",
            )
        ],
        NONE,
    ),
    planted(
        "A04",
        "a link counts as connected though its stream has closed meanwhile",
        [
            (
                PEER_LINK,
                "            self._transport = stream.transport\n            self._last_problem",
                (
                    '            self._loop.call_later(0.05, setattr, self, "_transport", stream.transport)\n'
                    "            self._last_problem"
                ),
            )
        ],
        NONE,
    ),
    planted(
        "A05",
        "timers go by the wall clock",
        [(NODE_LOOP, "_now = time.monotonic_ns\n", "_now = time.time_ns\n")],
        NONE,
    ),
    planted(
        "A06-pickle",
        "what a peer sends is unpickled",
        [(HANDSHAKE, "    return _decoder.decode(body)\n", '    return __import__("pickle").loads(body)\n')],
        NONE,
    ),
    planted(
        "A06-length",
        "a frame may be as long as it says",
        [(FRAMES, "            if not 0 < length <= limit:\n", "            if not 0 < length:\n")],
        NONE,
    ),
    planted(
        "A07",
        "the event loop waits for every sync",
        [
            (
                SYNC_THREAD,
                "        if small and self._disk.trusted and not self._full and (self.may_wait or not alone):\n",
                "        if not self._full:\n",
            )
        ],
        NONE,
    ),
)
