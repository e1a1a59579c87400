"""What a unary call over gRPC costs the server: ours beside `grpc.aio`, in one run.

    python bench/http2.py [--rounds 3] [--seconds 3] [--json]
    python bench/http2.py --blocks

Both answer each call with its own 272 bytes; `h2load` (Debian: nghttp2-client) calls on four connections with 64 in
flight, and on one with 1. Figures are medians over the rounds: calls a second, CPU microseconds of the server's process
a call, and the ratio of the peer's CPU to ours. Every answer's bytes are counted, so that none is an error in disguise.

`--blocks`: what it costs to decode the header block of a Go client that sets a timeout, which no cache can know: by
`coterie.http2` and by the `hpack` library, microseconds a block.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import grpc
import hpack
import msgspec

from coterie.core.errors import CoterieError
from coterie.engine.protocol import LogIn, Request, View, Welcome
from coterie.http2 import Called, Event, Limits
from coterie.http2.header_blocks import BlockDecoder
from coterie.runtime.client_port import ClientPort
from coterie.runtime.clients import ClientLimits, NativeClient
from coterie.runtime.event_loop import new_event_loop
from coterie.runtime.grpc.connection import GrpcConnection
from coterie.runtime.http1.connection import HttpConnection, HttpReply, HttpRequest
from coterie.runtime.log_lines import Lines
from measure import Missing, Sample, connections, cpu_seconds, machine, read_line, stop_processes

MESSAGE_BYTES = 272
LEVELS = (1, 64)
SUBJECTS = ("coterie", "grpc.aio")
WARM_UP_S = 1.0
BLOCKS = 20_000
ANSWER_OVERHEAD_BYTES = 5
_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


class Echo:
    """A site where every call is answered with its message."""

    def events(self, connection: GrpcConnection, events: list[Event]) -> None:
        """See `GrpcSite.events`."""
        respond = connection.http.respond
        for event in events:
            if isinstance(event, Called):
                respond(event.stream, event.message or b"")
        connection.touch()

    async def answer(self, request: HttpRequest) -> HttpReply:
        """Pages are not what is measured."""
        return HttpReply(body=request.path.encode())

    def requests_from(self, client: object, requests: list[Request]) -> None:
        """Nor are native clients."""
        raise AssertionError(requests)

    def log_in(self, client: NativeClient, request: LogIn) -> None:
        """Nor are native clients."""
        raise AssertionError(request)

    def welcome(self) -> tuple[Welcome, View]:
        """Nor are native clients."""
        raise AssertionError("nobody speaks the native protocol here")


async def serve_ours() -> None:
    echo, lines, limits = Echo(), Lines("bench"), Limits()
    port = ClientPort(
        lines,
        ClientLimits(),
        echo,
        http=lambda source: HttpConnection(echo, lines, source),
        grpc=lambda port, source, who: GrpcConnection(port, echo, limits, source, who),
    )
    server = await asyncio.get_running_loop().create_server(port.protocol, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def _echo(message: bytes, _: grpc.aio.ServicerContext) -> bytes:
    return message


async def serve_aio() -> None:
    server = grpc.aio.server()
    handlers = {"Echo": grpc.unary_unary_rpc_method_handler(_echo)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Test", handlers),))
    number = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(number, flush=True)
    await server.wait_for_termination()


class Server:
    """A subject's process."""

    def __init__(self, name: str) -> None:
        self.process = subprocess.Popen([sys.executable, __file__, "--serve", name], stdout=subprocess.PIPE)
        self.port = int(read_line(self.process.stdout, name))

    def load(self, in_flight: int, seconds: float, data: Path) -> tuple[int, float]:
        """Calls completed, and their mean time in milliseconds."""
        links = connections(in_flight)
        command = ["h2load", "-t1", f"-c{links}", f"-m{in_flight // links}", f"-D{seconds:g}", f"-d{data}"]
        command += ["-Hte: trailers", "-Hcontent-type: application/grpc"]
        command.append(f"http://127.0.0.1:{self.port}/test.Test/Echo")
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        succeeded = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored", run.stdout)
        size = re.search(r"\((\d+)\) data", run.stdout)
        mean = re.search(r"time for request: +\S+ +\S+ +([\d.]+)(us|ms|s)", run.stdout)
        if succeeded is None or size is None or mean is None:
            raise RuntimeError(f"h2load said something else than expected:\n{run.stdout}")
        calls = int(succeeded[1])
        if int(size[1]) < calls * (MESSAGE_BYTES + ANSWER_OVERHEAD_BYTES) or int(succeeded[2]) or int(succeeded[3]):
            raise RuntimeError(f"not every call was answered with its message:\n{run.stdout}")
        return calls, float(mean[1]) * _UNITS[mean[2]]

    def measure(self, in_flight: int, seconds: float, data: Path) -> Sample:
        """CPU of warm-up and connecting is in no figure."""
        self.load(in_flight, WARM_UP_S, data)
        pids = [self.process.pid]
        cpu = cpu_seconds(pids)
        calls, mean_ms = self.load(in_flight, seconds, data)
        return Sample(calls / seconds, mean_ms, (cpu_seconds(pids) - cpu) / calls * 1e6)


def compare(rounds: int, seconds: float) -> dict[str, dict[str, Sample]]:
    """Medians by number in flight and subject."""
    if shutil.which("h2load") is None:
        raise Missing("h2load is missing: apt-get install nghttp2-client")
    samples: dict[tuple[int, str], list[Sample]] = {}
    with tempfile.TemporaryDirectory() as directory:
        data = Path(directory, "request")
        data.write_bytes(bytes(1) + MESSAGE_BYTES.to_bytes(4) + bytes(MESSAGE_BYTES))
        for number in range(rounds):
            for name in SUBJECTS if number % 2 == 0 else reversed(SUBJECTS):
                server = Server(name)
                try:
                    for level in LEVELS:
                        samples.setdefault((level, name), []).append(server.measure(level, seconds, data))
                finally:
                    stop_processes([server.process])
    return {str(level): {name: median(samples[level, name]) for name in SUBJECTS} for level in LEVELS}


def median(samples: Sequence[Sample]) -> Sample:
    """Of each figure."""
    return Sample(*(statistics.median(getattr(s, key) for s in samples) for key in Sample.__struct_fields__))


def time_of(decode: Callable[[bytes], object], blocks: Sequence[bytes]) -> float:
    """Microseconds a block."""
    began = time.perf_counter()
    for block in blocks:
        decode(block)
    return (time.perf_counter() - began) / len(blocks) * 1e6


def measure_blocks() -> tuple[float, float]:
    """Microseconds a block, by ours and by the library."""
    fields = [(":method", "POST"), (":scheme", "http"), (":path", "/etcdserverpb.KV/Put"), (":authority", "here:2379")]
    fields += [("content-type", "application/grpc"), ("user-agent", "grpc-go/1.60.1"), ("te", "trailers")]
    encoder = hpack.Encoder()
    blocks = [encoder.encode([*fields, ("grpc-timeout", f"{4_999_000 + n}u")]) for n in range(BLOCKS)]
    decoder, library = BlockDecoder(1 << 16), hpack.Decoder()
    return time_of(decoder.decode, blocks), time_of(lambda block: library.decode(block, raw=True), blocks)


def main() -> int:
    parser = argparse.ArgumentParser(description="CPU of a unary call over gRPC, ours and grpc.aio's")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--blocks", action="store_true", help="header blocks alone")
    parser.add_argument("--serve", choices=SUBJECTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(serve_ours() if options.serve == "coterie" else serve_aio())
        return 0
    if options.blocks:
        decoder, library = measure_blocks()
        print(f"coterie {decoder:.1f} us, hpack {library:.1f} us a block; ratio {library / decoder:.1f}")
        return 0
    try:
        results = compare(options.rounds, options.seconds)
    except CoterieError as error:
        print(error, file=sys.stderr)
        return 1
    if options.json:
        print(msgspec.json.encode(results).decode())
        return 0
    print(machine())
    for level, row in results.items():
        for name, sample in row.items():
            print(f"{level:>3} in flight  {name:9} {sample.ops_per_s:9.0f}/s  {sample.cpu_us:7.1f} us CPU a call")
        ours, peer = row["coterie"], row["grpc.aio"]
        rates = ours.ops_per_s / peer.ops_per_s
        print(f"{level:>3} in flight  ratio of CPU {peer.cpu_us / ours.cpu_us:.1f}, of rates {rates:.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
