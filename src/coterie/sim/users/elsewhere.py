"""The same log applied in other processes: another PYTHONHASHSEED, other addresses, another day.

Inside one process every replica iterates over a set of strings in nearly the same order, so only another process tells
that a machine depends on it. `python -m coterie.sim.users.elsewhere` is that process.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Final

import msgspec

from coterie.core.errors import CoterieError
from coterie.sim.users.bench import MakeMachine, Step
from coterie.sim.users.diagnosis import compare

ENVIRONMENTS: Final = (
    {"PYTHONHASHSEED": "11", "TZ": "Etc/GMT+12"},
    {"PYTHONHASHSEED": "22", "TZ": "Etc/GMT-14"},
)
"""Of the other processes. It is never the same day in both of these time zones."""
TIMEOUT_S: Final = 120
MAX_STEPS: Final = 20_000
"""Commands that are applied again elsewhere."""


class Job(msgspec.Struct, frozen=True):
    """What another process is to do."""

    path: list[str]
    module: str
    file: str
    """Where the module came from, for one that cannot be imported by its name; may be empty."""
    name: str
    """Of the machine's class, or of the function that makes it, in its module."""
    logs: list[list[Step]]


class Outcome(msgspec.Struct, frozen=True):
    """What came of it."""

    problem: str = ""
    """Why it could not be done."""
    log: int = -1
    """The log at which the machine did otherwise; -1 if there is none."""
    number: int = 0
    """The command's place in that log."""
    what: str = ""


class Elsewhere(msgspec.Struct, frozen=True):
    """The first difference that was found in any other process."""

    log: int
    number: int
    what: str
    environment: str


def place_of(make: MakeMachine) -> tuple[str, str, str] | None:
    """Module, file and name by which another process finds what makes the machine; None if it can't."""
    module, name = getattr(make, "__module__", None), getattr(make, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or "<" in name:
        return None
    loaded = sys.modules.get(module)
    return module, getattr(loaded, "__file__", None) or "", name


def apply_elsewhere(make: MakeMachine, logs: Sequence[Sequence[Step]]) -> Elsewhere | str:
    """The first difference; if there is none, words about what was done, or why it was not."""
    place = place_of(make)
    if place is None:
        return "not checked: the machine is made by something inside a function; put its class into a module"
    module, file, name = place
    job = msgspec.msgpack.encode(
        Job([path or os.getcwd() for path in sys.path], module, file, name, [*map(list, logs)])
    )
    children = [
        subprocess.Popen(
            [sys.executable, "-m", __name__],
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for environment in ENVIRONMENTS
    ]
    problem = ""
    found: list[Elsewhere] = []
    for child, environment in zip(children, ENVIRONMENTS, strict=True):
        outcome = _finish(child, job)
        problem = problem or outcome.problem
        if outcome.log >= 0:
            words = " ".join(f"{name}={value}" for name, value in environment.items())
            found.append(Elsewhere(outcome.log, outcome.number, outcome.what, words))
    if found:
        return min(found, key=lambda each: (each.log, each.number))
    return f"not checked: {problem}" if problem else f"{len(children)} other processes agree"


def _finish(child: subprocess.Popen[bytes], job: bytes) -> Outcome:
    try:
        output, errors = child.communicate(job, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        return Outcome(f"another process had not ended after {TIMEOUT_S} s")
    try:
        return msgspec.msgpack.decode(output, type=Outcome)
    except msgspec.DecodeError:
        return Outcome(f"another process ended with {child.returncode}: {errors.decode(errors='replace')[-500:]}")


def _find(job: Job) -> MakeMachine:
    found: object = _module(job)
    for part in job.name.split("."):
        found = getattr(found, part)
    if not callable(found):
        raise CoterieError(f"{job.module}:{job.name} is not callable")
    return found


def _module(job: Job) -> ModuleType:
    try:
        if job.module != "__main__":
            return importlib.import_module(job.module)
    except ModuleNotFoundError as error:
        if not job.file or error.name is None or not job.module.startswith(error.name):
            raise
    name = f"elsewhere_{Path(job.file).stem}"  # whatever it does only as __main__, it does not do here
    spec = importlib.util.spec_from_file_location(name, job.file)
    if spec is None or spec.loader is None:
        raise CoterieError(f"{job.file} is not a Python file")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def perform(job: Job) -> Outcome:
    """Apply the logs to new machines, and compare."""
    sys.path[:] = job.path
    try:
        make = _find(job)
        for number, steps in enumerate(job.logs):
            if (difference := compare(make, steps)) is not None:
                return Outcome("", number, difference.number, difference.what)
    except Exception as error:
        return Outcome(f"{type(error).__name__}: {error}")
    return Outcome()


def main() -> int:
    """Read a `Job` from the standard input, write an `Outcome` to the standard output."""
    answer = os.dup(1)
    os.dup2(2, 1)  # what the user's module prints must not get into the answer
    outcome = perform(msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Job))
    with os.fdopen(answer, "wb") as stream:
        stream.write(msgspec.msgpack.encode(outcome))
    return 0


if __name__ == "__main__":
    sys.exit(main())
