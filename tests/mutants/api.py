"""Rows of the catalogue about leases, locks and watches: planted in the services of etcd's API, and beneath them."""

from __future__ import annotations

from functools import partial
from typing import Final

from tests.mutants.groups_and_states import STALE, STATES
from tests.mutants.planting import planted

from coterie.sim.options import BOTH, ETCD

CONFIRMATION = "core/leading/confirmation.py"
ENGINE = "engine/engine.py"
ELECTION = "etcd/election_service.py"
HOST = "machine/host.py"
KEYSPACE = "machine/kv/keyspace.py"
KV = "etcd/kv.py"
LAYERED = "machine/kv/layered.py"
LEASE = "etcd/lease.py"
LEASES = "machine/kv/leases.py"
LOCK = "etcd/lock_service.py"
MACHINE = "machine/kv/machine.py"
REQUESTS = "etcd/requests.py"
SERVICES = "etcd/services.py"
STORE = "machine/kv/store.py"
SWEEPING = "machine/kv/sweeping.py"
WATCH = "etcd/watch.py"
WATCHING = "etcd/watching.py"

HOLDER: Final = frozenset({"one-holder"})
WATCHED: Final = frozenset({"watch-complete"})
EARLY: Final = frozenset({"lease-not-early"})

_row = partial(planted, api=ETCD)

READ_ROWS: Final = (
    _row(
        "Q05-fence",
        "a read joins the reads that wait for a fence, though that was sent before it was asked for",
        [
            (REQUESTS, "            self._fenced, self.open_fence = [], 0\n", ""),
            (
                REQUESTS,
                "            for each in sharing:\n",
                "            self._fenced, self.open_fence = [], 0\n            for each in sharing:\n",
            ),
        ],
        STALE,
        first=5,
    ),
)
LEASE_ROWS: Final = (
    _row(
        "E01",
        "a lock is given to who waited for it, though its lease ended meanwhile",
        [(LOCK, "                if not found.items:\n", "                if False:\n")],
        HOLDER,
        first=15,
    ),
    _row(
        "E01-election",
        "who waited is elected, though its lease ended meanwhile",
        [(ELECTION, "            if not own.items or own.items[0].create != created:\n", "            if False:\n")],
        HOLDER,
        protocol="multipaxos",
    ),
    _row(
        "E03",
        "who leads revokes leases by its own clock, and counts from when it first saw them",
        [
            (
                SERVICES,
                "        self._cluster.look()\n",
                (
                    "        self._cluster.look()\n"
                    "        if self._node.leader == self._node.member:\n"
                    "            from coterie.machine.kv.protocol import Revoke, encoder\n"
                    "            seen = self.__dict__.setdefault('_seen_leases', {})\n"
                    "            for lease in self.backend.machine.space.leases.granted.values():\n"
                    "                if now - seen.setdefault(lease.id, now) > lease.ttl * SECOND:\n"
                    "                    self.backend.requests.submit(encoder.encode(Revoke(lease.id)), id)\n"
                ),
            )
        ],
        EARLY,
    ),
    _row(
        "E05",
        "all leases begin anew when somebody else leads",
        [
            (
                HOST,
                "        self.applied_epoch = entry.epoch\n",
                (
                    "        if entry.epoch != self.applied_epoch:\n"
                    "            table = self.machine._machine.space.leases\n"
                    "            for lease in table.granted.values():\n"
                    "                table.renew(lease, self.time)\n"
                    "        self.applied_epoch = entry.epoch\n"
                ),
            )
        ],
        frozenset({"lease-ends"}),
        faults="transfer,depose",
        first=5,
    ),
    _row(
        "E06",
        "who begins to lead counts what its clock shows as time that has passed",
        [
            (CONFIRMATION, "        self._counted_to: Nanos = now\n", "        self._counted_to: Nanos = 0\n"),
            (CONFIRMATION, "min(now - self._counted_to, self._longest_step)", "now - self._counted_to"),
        ],
        EARLY,
        faults="transfer,depose",
    ),
    _row(
        "E08",
        "a member that has started again ends no lease with a negative id",
        [
            (
                LEASES,
                "(lease.deadline, lease.id) for lease in self.granted.values()]",
                "(lease.deadline, lease.id) for lease in self.granted.values() if lease.id > 0]",
            )
        ],
        STATES | {"lease-ends", "applied-in-order", "same-applied"},
        faults="snapshot,crash",
        first=12,
    ),
    _row(
        "E09",
        "a member that has not applied a grant yet says that there is no such lease",
        [
            (
                LEASE,
                "            self._backend.submit(self._caller, encoder.encode(KeepAlive(lease)), self._kept)\n",
                (
                    "            if lease not in self._backend.machine.space.leases.granted:\n"
                    "                self._kept(Answer(0, 0, 0, encoder.encode(LeaseReply(0, lease, 0))))\n"
                    "                return\n"
                    "            self._backend.submit(self._caller, encoder.encode(KeepAlive(lease)), self._kept)\n"
                ),
            )
        ],
        frozenset({"lease-told"}),
        faults="delay,partition",
    ),
    _row(
        "E10",
        "the keys of a lease that ends are deleted one by one",
        [
            (
                KEYSPACE,
                "            self.data.delete(key, want_previous=False)\n        self.commit()\n",
                "            self.data.delete(key, want_previous=False)\n            self.commit()\n",
            )
        ],
        frozenset({"lease-atomic"}),
    ),
)

PEACE_ROWS: Final = (
    _row(
        "Y07",
        "nothing is logged because a lease's time has come",
        [
            (
                ENGINE,
                "return timer is not None and elapsed >= min(timer - self.host.time, self.config.time_interval)",
                "return False",
            )
        ],
        frozenset({"lease-ends"}),
    ),
    _row(
        "Y08",
        "an entry carries the time of the newest confirmed round: what begins with it began a while ago",
        [(CONFIRMATION, "        self._count_to(now)\n        credit", "        credit")],
        EARLY,
    ),
    _row(
        "N06",
        "a snapshot does not say when its leases end",
        [
            (
                MACHINE,
                "store, leases, alarms = Store(), LeaseTable(contents.leases)",
                "store, leases, alarms = Store(), LeaseTable([(id, ttl, 0) for id, ttl, _ in contents.leases])",
            )
        ],
        STATES | EARLY,
        faults="snapshot,crash",
    ),
)

WATCH_ROWS: Final = (
    _row(
        "W01",
        "a slow watcher goes on behind a compaction as if there had been nothing",
        [
            (
                WATCHING,
                (
                    "                watcher.place = Place.GONE\n"
                    "                watcher.listener.compacted(watcher, data.compacted)\n"
                    "                continue\n"
                ),
                "                watcher.position = data.compacted\n",
            )
        ],
        WATCHED,
    ),
    _row(
        "W02",
        "a compaction takes the changes of its own revision along",
        [(STORE, "min(last + 1, self.compacted) - self._log_first", "last + 1 - self._log_first")],
        WATCHED | STATES,
    ),
    _row(
        "W02-store",
        "a compaction at a deletion frees the deletion on disk, too",
        [
            (
                SWEEPING,
                "tombstone = not item.version and item.mod < self._compacted",
                "tombstone = not item.version",
            )
        ],
        WATCHED | STATES,
        faults="snapshot,crash",
        first=30,
    ),
    _row(
        "W04",
        "a watch that goes on at a member that is behind is told what it knows",
        [(WATCHING, "            if watcher.position > seen[0].mod:  # it begins later\n", "            if False:\n")],
        WATCHED,
        faults="delay,partition,crash",
        first=1,
    ),
    _row(
        "W06",
        "what was encoded for one watcher's keys is sent to those of others",
        [(WATCHING, "        self._cached.clear()\n", "")],
        WATCHED,
        protocol="multipaxos",
    ),
    _row(
        "W08",
        "a transaction's events come one by one",
        [
            (
                WATCH,
                "            self._stream.send(self._backend.headers.field(revision) + id + encoded)\n",
                (
                    "            for event in events:\n"
                    "                self._answer(rpc.WatchResponse(watch_id=watcher.id, events=[event]), revision)\n"
                ),
            )
        ],
        WATCHED,
    ),
    _row(
        "W11",
        "a watch from a compacted revision begins at the first that is left",
        [
            (
                WATCH,
                "        begin = request.start_revision if request.start_revision > 0 else",
                (
                    "        begin = max(request.start_revision, self._hub._data().compacted)"
                    " if request.start_revision > 0 else"
                ),
            )
        ],
        WATCHED,
    ),
    _row(
        "W12",
        "a watch from revision -1 begins with all that there was",
        [
            (
                WATCH,
                "request.start_revision if request.start_revision > 0 else self._hub.revision + 1\n",
                "abs(request.start_revision) if request.start_revision else self._hub.revision + 1\n",
            )
        ],
        WATCHED,
        first=40,
    ),
    _row(
        "W13",
        "what was there before an event is looked up as of now",
        [(WATCHING, "before = data.get(item.key, item.mod - 1)", "before = data.get(item.key)")],
        WATCHED,
    ),
    _row(
        "W14",
        "a key that was deleted in the same layer goes on where it ended",
        [
            (
                LAYERED,
                "  # one copy of the key\n            if not old.version:\n                old = None\n",
                "\n",
            )
        ],
        frozenset({"effects-true", "same-applied"}) | STATES,
        faults="snapshot",
    ),
    _row(
        "Y05",
        "a request for progress is answered while watches are behind",
        [
            (
                WATCH,
                "self._full or self._stalled or any(watcher.behind for watcher in self._watchers.values())",
                "False",
            )
        ],
        frozenset({"watch-bookmark"}),
        first=5,
    ),
    _row(
        "Y06",
        "a watch that is behind is told after the interval that there was nothing",
        [
            (
                WATCH,
                "            if not told and not self._watchers[id].behind and not self._full:\n",
                "            if not told:\n",
            )
        ],
        frozenset({"watch-bookmark"}),
        first=5,
    ),
)

API_ROWS: Final = READ_ROWS + LEASE_ROWS + PEACE_ROWS + WATCH_ROWS

API_CONTROLS: Final = (
    planted(
        "K5",
        "a serializable read is confirmed by a quorum, too",
        [
            (KV, "ReadMode.STALE if request.serializable else ReadMode.LINEARIZABLE", "ReadMode.LINEARIZABLE"),
            (KV, "        if end != size:\n", "        if end > size:\n"),
        ],
        frozenset(),
        api=BOTH,
    ),
    planted(
        "K6",
        "watchers are told late, one slice after the other, and in order",
        [
            (
                WATCHING,
                "        if watcher.position > self.revision:\n            watcher.place",
                "        if False:\n            watcher.place",
            ),
            (
                WATCHING,
                "            if self._interests:\n                self._tell_new(data)\n",
                (
                    "            for watcher in self._interests.all():\n"
                    "                self._interests.remove(watcher)\n"
                    "                self._fall_behind(watcher)\n"
                ),
            ),
        ],
        frozenset(),
        api=BOTH,
    ),
)
"""Correct variants."""
