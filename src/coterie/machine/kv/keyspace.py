"""All that the machine keeps, and the changes that touch more than one part of it."""

from __future__ import annotations

from coterie.core.types import Nanos
from coterie.machine.kv.alarms import Alarms
from coterie.machine.kv.data import Data
from coterie.machine.kv.leases import Lease, LeaseTable

MAX_ENDED = 1024
"""Leases that one entry ends; those that are due with it, too, end with the next ones."""


class Keyspace:
    """Items, the leases that some of them are attached to, and alarms."""

    def __init__(self, data: Data, leases: LeaseTable, alarms: Alarms) -> None:
        self.data = data
        self.leases = leases
        self.alarms = alarms

    def commit(self) -> int:
        """End the writes of one command; returns the revision. What they put is attached from now on, what they
        deleted no longer."""
        data = self.data
        before = data.revision
        revision = data.commit()
        if revision != before and self.leases.granted:
            self.leases.follow(data.events(revision))
        return revision

    def revoke(self, lease: Lease) -> None:
        """End the lease: its keys are deleted, in their order, at one revision."""
        for key in sorted(lease.keys):
            self.data.delete(key, want_previous=False)
        self.commit()
        self.leases.end(lease)

    def end_leases(self, now: Nanos) -> None:
        """End those whose time is over, each at a revision of its own: by deadline, then by id."""
        for _ in range(MAX_ENDED):
            lease = self.leases.next_end()
            if lease is None or lease.deadline > now:
                break
            self.revoke(lease)
        self.data.end_batch()
