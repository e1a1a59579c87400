"""The threads that do the engine's slow work: one a lane, so that a snapshot that takes a minute keeps
neither the log nor the machine's store waiting."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable

from coterie.engine.work import Job, Lane, lacks_space
from coterie.runtime.pace import Pace
from coterie.runtime.sync_thread import end_process

STOP_TIMEOUT_S = 5.0
"""How long a stopping node waits for a job that the disk does not finish."""


class WorkThreads:
    """Performs jobs, each lane's in order, and tells the event loop of each outcome."""

    def __init__(
        self,
        *,
        where: str,
        on_done: Callable[[Job, Exception | None], None],
        on_disk_error: Callable[[BaseException, str], None] = end_process,
    ) -> None:
        """`where` names the directory in messages. `on_done(job, problem)` runs in the event loop;
        `on_disk_error`, which must not return, in the thread."""
        self._where = where
        self._on_done = on_done
        self._on_disk_error = on_disk_error
        self._loop = asyncio.get_running_loop()
        self._queues: dict[Lane, queue.SimpleQueue[Job | None]] = {lane: queue.SimpleQueue() for lane in Lane}
        self._threads = [
            threading.Thread(target=self._run, args=(lane,), name=f"coterie-{lane.value}", daemon=True) for lane in Lane
        ]
        self._stopping = False
        for thread in self._threads:
            thread.start()

    def submit(self, job: Job) -> None:
        """Perform the job after those of its lane that were submitted before."""
        if not self._stopping:
            self._queues[job.lane].put(job)

    def stop(self) -> None:
        """Begin nothing more; wait, with a bound, for what is being done."""
        self._stopping = True
        for waiting in self._queues.values():
            waiting.put(None)
        for thread in self._threads:
            thread.join(STOP_TIMEOUT_S)

    @property
    def ended(self) -> bool:
        """Nothing is being written any more."""
        return not any(thread.is_alive() for thread in self._threads)

    def _run(self, lane: Lane) -> None:
        while (job := self._queues[lane].get()) is not None:
            if self._stopping:
                continue
            pace = Pace(lambda: self._stopping)
            problem: Exception | None = None
            try:
                job.perform(pace.give_way)
            except Exception as error:
                problem = error
            if isinstance(problem, OSError) and not lacks_space(problem):
                # As for the log: after a failed write or sync nobody knows what is on the disk.
                self._on_disk_error(problem, self._where)
            try:
                self._loop.call_soon_threadsafe(self._on_done, job, problem)
            except RuntimeError:
                return  # The loop has ended.
