"""What a command costs between the log and its reply: decoding, the host, the key-value machine.

    python bench/machine.py

Prints microseconds per command, best of several rounds, for entries of 64 and of 1000 commands
(16 B keys, 256 B values, every command of a session, each number new, the floor close behind).
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from coterie.core.messages import Command, Segment, SessionOpen, decode_segments, encode_segments
from coterie.core.types import Entry, EntryKind, Epoch
from coterie.machine.host import Host
from coterie.machine.interface import Batch, Rejected, StateMachine
from coterie.machine.kv import KeyValue
from coterie.machine.kv.protocol import Put, encoder

ROUNDS = 5
COMMANDS = 64_000
KEYS = 10_000
SESSIONS = 4


class Nothing(StateMachine):
    """Does nothing, so that what is measured is the host."""

    def apply(self, batch: Batch) -> Sequence[bytes | Rejected]:
        return [b""] * len(batch.commands)

    def query(self, question: bytes) -> bytes | Rejected:
        return b""

    def snapshot(self) -> Iterator[bytes]:
        return iter(())

    def restore(self, chunks: Iterable[bytes]) -> None:
        for _ in chunks:
            pass

    def digest(self) -> bytes:
        return b""


def puts(count: int, keys: int) -> list[bytes]:
    """Bodies of `count` puts spread over `keys` keys."""
    return [encoder.encode(Put(b"key-%012d" % (i * 7919 % keys), bytes(256))) for i in range(count)]


def entries(bodies: Sequence[bytes], size: int) -> list[Entry]:
    """Entries of `size` commands each, of `SESSIONS` sessions in turn; the first opens them."""
    sessions = [1 << 20 | (ordinal + 1) for ordinal in range(SESSIONS)]
    opening = Segment(1, 1, 1, tuple(SessionOpen(10**10) for _ in sessions))
    result = [Entry(1, Epoch(1, 0), EntryKind.COMMANDS, 1, encode_segments([opening]))]
    seq, number = 1, 1 + SESSIONS
    for start in range(0, len(bodies), size):
        commands = []
        for i, body in enumerate(bodies[start : start + size]):
            commands.append(Command(sessions[i % SESSIONS], seq + i // SESSIONS, max(1, seq - 16), body))
        payload = encode_segments([Segment(1, 1, number, tuple(commands))])
        seq += -(-len(commands) // SESSIONS)
        number += len(commands)
        result.append(Entry(len(result) + 1, Epoch(1, 0), EntryKind.COMMANDS, 1000, payload))
    return result


def best(run: Callable[[], Callable[[], None]], count: int) -> float:
    """Microseconds for each of `count`, best round; `run` prepares and returns what is timed."""
    figures = []
    for _ in range(ROUNDS):
        work = run()
        gc.collect()
        began = time.perf_counter()
        work()
        figures.append((time.perf_counter() - began) / count * 1e6)
    return min(figures)


def main() -> None:
    bodies = puts(COMMANDS, KEYS)
    for size in (64, 1000):
        log = entries(bodies, size)

        def decoding(log: list[Entry] = log) -> Callable[[], None]:
            def work() -> None:
                for entry in log:
                    decode_segments(entry.payload)

            return work

        def applying(machine: Callable[[], StateMachine], log: list[Entry] = log) -> Callable[[], None]:
            host = Host(machine())

            def work() -> None:
                for entry in log:
                    host.apply(entry, 1, 1)

            return work

        decode = best(decoding, COMMANDS)
        nothing = best(lambda: applying(Nothing), COMMANDS)
        whole = best(lambda: applying(KeyValue), COMMANDS)
        print(
            f"{size:5} commands an entry: decoding {decode:.2f} us, host {nothing - decode:.2f} us, "
            f"key-value put {whole - nothing:.2f} us; together {whole:.2f} us a command"
        )
    for keys, label in ((KEYS, "overwriting"), (COMMANDS, "new keys")):
        batch = puts(COMMANDS, keys)

        def alone(batch: list[bytes] = batch) -> Callable[[], None]:
            machine = KeyValue()

            def work() -> None:
                for start in range(0, len(batch), 64):
                    part = batch[start : start + 64]
                    machine.apply(Batch(start + 1, 0, range(len(part)), part))

            return work

        print(f"key-value put alone, {label}: {best(alone, COMMANDS):.2f} us")
    print(f"Python {sys.version.split()[0]}")


if __name__ == "__main__":
    main()
