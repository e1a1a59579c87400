"""A store that found no space is written soon after there is some: until then the machine can be given no snapshot."""

from __future__ import annotations

import errno
import random
from collections import deque

from tests.contract.engine.cluster import CLUSTER_ID, Cluster, Disk
from tests.protocol import protocol_under_test

from coterie.core.config import MILLISECOND
from coterie.core.messages import Message
from coterie.core.records import StoreBatch
from coterie.core.types import Entry, Member, MemberId, Nanos
from coterie.engine.engine import Engine, EngineConfig, Identity
from coterie.engine.ports import Event
from coterie.engine.protocol import Response, Submit, View
from coterie.engine.work import Job
from coterie.machine.kv import KeyValue
from coterie.machine.kv.protocol import Put, encoder
from coterie.machine.stores import MemoryStore

SECOND: Nanos = 1000 * MILLISECOND


class Alone:
    """The only member of its group, with a durable machine. Its `Ports`, too."""

    def __init__(self) -> None:
        self.now: Nanos = 0
        self.disk = Disk(first_of_one())
        self.jobs: deque[Job] = deque()
        self.tries = 0
        self.full = False
        self.events: list[Event] = []
        self.batches: list[StoreBatch] = []
        self.engine = Engine(
            identity=Identity(cluster=CLUSTER_ID, member=1, name="n1", boot=1),
            config=EngineConfig(),
            protocol=protocol_under_test(),
            recovered=self.disk.recovered(),
            reader=self.disk,
            machine=KeyValue(),
            ports=self,
            rng=random.Random(1),
            now=0,
            store=MemoryStore(),
            snapshots=self.disk.snapshots(),
        )

    def run(self, until: Nanos) -> None:
        """Time passes, and all works, the store only if it has space."""
        while True:
            deadline = self.engine.flush(self.now)
            if self.batches or self.jobs:
                self._work()
                continue
            if deadline > until:
                self.now = until
                return
            self.now = max(self.now, deadline)
            self.engine.wake(self.now)

    def flushing(self) -> bool:
        return self.engine.flushing

    def _work(self) -> None:
        for batch in self.batches:
            self.disk.perform(batch)
            self.engine.stored(self.now, batch.mark)
        self.batches = []
        while self.jobs:
            job = self.jobs.popleft()
            self.tries += 1
            if self.full:
                self.engine.worked(self.now, job, OSError(errno.ENOSPC, "full"))
            else:
                job.perform()
                self.engine.worked(self.now, job, None)

    def send(self, to: MemberId, message: Message) -> None: ...

    def store(self, batch: StoreBatch) -> None:
        self.batches.append(batch)

    def leave(self) -> None: ...

    def reply(self, client: object, *responses: Response) -> None: ...

    def publish(self, view: View) -> None: ...

    def work(self, job: Job) -> None:
        self.jobs.append(job)

    def removed(self, member: Member) -> None: ...

    def event(self, event: Event) -> None:
        self.events.append(event)


def first_of_one() -> Entry:
    return Cluster(1).disks[1].log[0]


def test_a_flush_that_found_no_space_is_tried_again_every_second() -> None:
    alone = Alone()
    alone.run(5 * SECOND)
    alone.engine.request(alone.now, "client", Submit(1, 0, 0, 0, encoder.encode(Put(b"k", b"v"))))
    alone.run(6 * SECOND)
    alone.full = True
    assert alone.engine.flush_store()
    alone.run(9 * SECOND)
    assert alone.flushing()
    assert 3 <= alone.tries <= 4
    alone.full = False
    alone.run(alone.now + SECOND)
    assert not alone.flushing()
    assert alone.engine.host.persisted > 1
