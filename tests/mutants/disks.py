"""Rows of the catalogue about files: names, space, and what a store keeps."""

from __future__ import annotations

from typing import Final

from tests.mutants.groups_and_states import STATES
from tests.mutants.planting import planted

IDENTITY = "storage/identity.py"
LOG_STORE = "storage/log_store.py"
PERSISTENCE = "machine/persistence.py"
SNAPSHOT_FILES = "storage/snapshot_files.py"
SNAPSHOTS = "storage/snapshots.py"
WRITE = "storage/write.py"
ZEROS = "storage/zeros.py"

KEPT: Final = frozenset({"log-kept", "torn-start", "epoch-monotonic", "log-invented"})
"""Checks that name a log that is not what was written."""

DISK_ROWS: Final = (
    planted(
        "S08",
        "a new segment's name is not made durable",
        [(WRITE, "        sync_once(lambda: files.sync_directory(self._store.directory), self._path)\n", "")],
        KEPT,
        faults="crash,snapshot",
        by_command=True,
    ),
    planted(
        "S09",
        "a snapshot gets its name before it is whole",
        [
            (
                SNAPSHOTS,
                "            if not receiver.complete:\n                return False\n            receiver.finish()\n",
                "            receiver.finish()\n",
            ),
            (
                SNAPSHOT_FILES,
                '            raise ValueError(f"{self.received} of {self.size} bytes are here")\n',
                "            pass\n",
            ),
            (
                SNAPSHOT_FILES,
                "self.size, snapshot_name(self.meta), self._check)",
                "self.size, snapshot_name(self.meta), _unchecked)",
            ),
        ],
        STATES | {"snapshot-held"},
        faults="snapshot,crash,depose",
        first=4,
        by_command=True,
    ),
    planted(
        "S16",
        "the file of the identity is written in place",
        [
            (
                IDENTITY,
                (
                    "    new = within(path, NEW_IDENTITY_NAME)\n    if files.exists(new):\n        files.remove(new)\n"
                    "    file = files.open(new, create=True)\n"
                ),
                (
                    "    new = within(path, IDENTITY_NAME)\n    file = files.open(new, create=not files.exists(new))\n"
                    "    file.truncate(0)\n"
                ),
            ),
            (IDENTITY, "    files.rename(new, within(path, IDENTITY_NAME))\n", ""),
        ],
        frozenset({"torn-start"}),
        faults="crash",
        first=17,
    ),
    planted(
        "S18",
        "a write that found no space counts as done",
        [
            (
                WRITE,
                "            raise\n        self._store.performed",
                "            if self._failed:\n                raise\n        self._store.performed",
            )
        ],
        KEPT,
        faults="full-disk,crash",
    ),
    planted(
        "S21",
        "a block that is written past the page cache loses what stood in it before",
        [
            (
                LOG_STORE,
                "            before if whole else None,\n",
                "            bytes(len(before)) if whole else None,\n",
            )
        ],
        KEPT,
        faults="crash",
        first=80,
    ),
    planted(
        "S22",
        "zeros that are made ahead of the log are counted on before they are durable",
        [
            (
                ZEROS,
                "        return self._room\n",
                "        self.until = self._room.end\n        return self._room\n",
            )
        ],
        KEPT,
        faults="crash",
    ),
    planted(
        "S23",
        "zeros that are made ahead of the log come after a write that lengthened the file itself",
        [
            (
                LOG_STORE,
                "            grows,\n        )",
                "            False,\n        )",
            )
        ],
        KEPT,
        faults="crash",
    ),
    planted(
        "L22",
        "one replica's machine swallows an error of its store",
        [
            (
                PERSISTENCE,
                "            self._store.write(self._changes(view))\n",
                (
                    "            try:\n                self._store.write(self._changes(view))\n"
                    "            except OSError:\n                pass\n"
                ),
            )
        ],
        STATES,
        faults="snapshot,full-disk,crash",
        by_command=True,
    ),
    planted(
        "C02",
        "sessions are kept in memory alone",
        [
            (
                PERSISTENCE,
                "        for id, frozen in self._sessions:\n",
                "        for id, frozen in self._sessions[:0]:\n",
            )
        ],
        STATES,
        faults="snapshot,crash",
        by_command=True,
    ),
)
