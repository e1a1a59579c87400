"""Calls of etcd's API with grpcio, and many keys put by them: for loads that `h2load` cannot make."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import grpc

from coterie.etcd.wire import rpc
from measure import VALUE_BYTES

KV, LEASE = "/etcdserverpb.KV/", "/etcdserverpb.Lease/"
PER_TXN = 100
UNDER_WAY = 16
TELL_S = 10.0


def key_of(number: int) -> bytes:
    """The 16 bytes of a key."""
    return b"many/%011d" % number


class Caller:
    """Calls to one member."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.insecure_channel(address, [("grpc.max_receive_message_length", -1)])

    def call(self, method: str, request: Any) -> Any:
        """One call; raw bytes of the answer."""
        return self.channel.unary_unary(method)(request.SerializeToString(), timeout=60, wait_for_ready=True)

    def many(self, method: str, requests: Iterator[Any], under_way: int = UNDER_WAY) -> Iterator[bytes]:
        """Calls, so many at a time, and their answers in the same order."""
        callable_, waiting = self.channel.unary_unary(method), deque[Any]()
        for request in requests:
            if len(waiting) >= under_way:
                yield waiting.popleft().result()
            waiting.append(callable_.future(request.SerializeToString(), timeout=60))
        yield from (each.result() for each in waiting)


def _transactions(keys: int) -> Iterator[Any]:
    value = b"v" * VALUE_BYTES
    for first in range(0, keys, PER_TXN):
        puts = [rpc.PutRequest(key=key_of(each), value=value) for each in range(first, min(first + PER_TXN, keys))]
        yield rpc.TxnRequest(success=[rpc.RequestOp(request_put=put) for put in puts])


def load(caller: Caller, keys: int) -> float:
    """Put keys number 0 to `keys` - 1, a hundred to a transaction; the seconds that it took."""
    began = told = time.monotonic()
    for number, _ in enumerate(caller.many(KV + "Txn", _transactions(keys))):
        if time.monotonic() - told > TELL_S:
            told = time.monotonic()
            print(f"  {number * PER_TXN:,} of {keys:,} keys", file=sys.stderr, flush=True)
    return time.monotonic() - began
