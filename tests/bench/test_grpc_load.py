"""The load through etcd's API: that its keys are spread when they should be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import grpc_load
from grpc_calls import key_of

REQUESTS = 2000


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler (cc)")
def test_with_the_library_each_reading_of_the_request_has_another_key_of_those_that_were_loaded(tmp_path: Path) -> None:
    request = tmp_path / "request.bin"
    request.write_bytes(b"\x00\x00\x00\x00\x12\x0a\x10" + key_of(0) + b"after")
    program = (
        "import ctypes, os, sys\n"
        "libc, fd, buffer = ctypes.CDLL(None), os.open(sys.argv[1], os.O_RDONLY), ctypes.create_string_buffer(64)\n"
        f"for _ in range({REQUESTS}):\n"
        "    got = libc.pread(fd, buffer, ctypes.c_size_t(64), ctypes.c_long(0))\n"
        "    print(buffer.raw[:got].hex())\n"
    )
    shim = {"LD_PRELOAD": str(grpc_load.compiled(tmp_path)), "SPREAD_AT": str(7 + 16 - 6), "SPREAD_DIGITS": "6"}
    run = subprocess.run(
        [sys.executable, "-c", program, str(request)], capture_output=True, check=True, text=True, env=os.environ | shim
    )
    said = [bytes.fromhex(line) for line in run.stdout.split()]
    numbers = [int(each[12:23]) for each in said]
    assert all(each[:7] + each[23:] == b"\x00\x00\x00\x00\x12\x0a\x10after" for each in said)
    assert [each[7:23] for each in said] == [key_of(number) for number in numbers]
    assert max(numbers) < 10**6
    assert len(set(numbers)) > 0.99 * REQUESTS
    assert all(sum(number // 100_000 == first for number in numbers) > REQUESTS / 20 for first in range(10))


def test_keys_are_spread_over_powers_of_ten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    for keys in (0, 2, 99, 110, 10**16):
        with pytest.raises(ValueError, match="power of ten"):
            grpc_load.GrpcNodes(tmp_path, [1], [1], keys)
    assert grpc_load.GrpcNodes(tmp_path, [1], [1], 1).pids == [1]
