"""fdatasync without a thread: Linux's kernel AIO (io_submit with IOCB_CMD_FDSYNC), told of by an eventfd.

A thread that waits in fdatasync must take the interpreter's lock twice for each sync, in competition
with the event loop; here the kernel does the waiting, and the loop hears of it like of a socket.
`kernel_sync()` gives None where the system has no such thing: there the sync thread does all the work.
See docs/decisions/0002-kernel-sync.md for what it measured.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import platform
import sys
from collections.abc import Callable

from coterie.storage.write import Begun

_IOCB_CMD_PWRITE = 1
_IOCB_CMD_FDSYNC = 3
_IOCB_FLAG_RESFD = 1
_CALLS = {"x86_64": (206, 207, 208, 209), "aarch64": (0, 1, 4, 2)}
"""Numbers of io_setup, io_destroy, io_getevents and io_submit."""


class _ControlBlock(ctypes.Structure):
    """struct iocb of linux/aio_abi.h, for a little-endian machine."""

    _fields_ = (
        ("data", ctypes.c_uint64),
        ("key", ctypes.c_uint32),
        ("rw_flags", ctypes.c_int32),
        ("opcode", ctypes.c_uint16),
        ("priority", ctypes.c_int16),
        ("descriptor", ctypes.c_uint32),
        ("buffer", ctypes.c_uint64),
        ("bytes", ctypes.c_uint64),
        ("offset", ctypes.c_int64),
        ("reserved", ctypes.c_uint64),
        ("flags", ctypes.c_uint32),
        ("result_descriptor", ctypes.c_uint32),
    )


class _Event(ctypes.Structure):
    """struct io_event."""

    _fields_ = (
        ("data", ctypes.c_uint64),
        ("control_block", ctypes.c_uint64),
        ("result", ctypes.c_int64),
        ("result_2", ctypes.c_int64),
    )


class KernelSync:
    """One fdatasync at a time, for one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_done: Callable[[OSError | None], None]) -> None:
        """`on_done` is called in the loop when a sync or a write has ended; with EAGAIN if less was written than asked
        for. Raises `OSError` if the system has no AIO."""
        calls = _CALLS.get(platform.machine()) if sys.platform == "linux" and sys.byteorder == "little" else None
        if calls is None:
            raise OSError(errno.ENOSYS, "kernel AIO is not known on this system")
        self._setup, self._destroy, self._get_events, self._submit = calls
        # PyDLL keeps the interpreter's lock: these calls return at once.
        self._libc = ctypes.PyDLL(None, use_errno=True)
        self._context = ctypes.c_ulong(0)
        self._call(self._setup, 1, ctypes.byref(self._context))
        self._eventfd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._block = _ControlBlock(flags=_IOCB_FLAG_RESFD, result_descriptor=self._eventfd)
        self._blocks = (ctypes.c_void_p * 1)(ctypes.addressof(self._block))
        self._event = _Event()
        self._loop = loop
        self._on_done = on_done
        loop.add_reader(self._eventfd, self._ready)

    def _call(self, number: int, *arguments: object) -> int:
        result = int(self._libc.syscall(number, *arguments))
        if result < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return result

    def begin(self, begun: Begun) -> None:
        """Begin to write or sync; raises `OSError` if that can't be begun (nothing was done then)."""
        block = self._block
        block.opcode = _IOCB_CMD_PWRITE if begun.size else _IOCB_CMD_FDSYNC
        block.descriptor, block.buffer, block.bytes, block.offset = begun
        self._call(self._submit, self._context, 1, self._blocks)

    def _ready(self) -> None:
        try:
            os.eventfd_read(self._eventfd)
        except BlockingIOError:
            return  # woken for nothing: the sync is still under way
        try:
            self._call(self._get_events, self._context, 1, 1, ctypes.byref(self._event), None)
        except OSError as error:
            self._on_done(error)
            return
        result = self._event.result
        if result < 0:
            self._on_done(OSError(-result, os.strerror(-result)))
        elif result != self._block.bytes:
            self._on_done(OSError(errno.EAGAIN, f"the system wrote {result} of {self._block.bytes} bytes"))
        else:
            self._on_done(None)

    def close(self, *, at_work: bool = False) -> None:
        """Let go. `at_work`: something is under way; it is not waited for, for its disk may hang, and nobody is told:
        what the kernel needs for it stays until the process ends."""
        self._loop.remove_reader(self._eventfd)
        if not at_work:
            self._call(self._destroy, self._context)
            os.close(self._eventfd)


def kernel_sync(loop: asyncio.AbstractEventLoop, on_done: Callable[[OSError | None], None]) -> KernelSync | None:
    """A `KernelSync`, or None where the system has none or forbids it."""
    try:
        return KernelSync(loop, on_done)
    except OSError:
        return None
