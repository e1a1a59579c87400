"""Finding a machine by its name, `package.module:Class`."""

from __future__ import annotations

import importlib
import inspect
import os
import sys

from coterie.core.errors import ConfigurationError
from coterie.machine.interface import StateMachine


def machine_name(machine: StateMachine | type[StateMachine]) -> str:
    """The name by which `load_machine` finds the machine's class, for example `examples.bank:Bank`."""
    kind = machine if isinstance(machine, type) else type(machine)
    return f"{kind.__module__}:{kind.__qualname__}"


def load_machine(name: str, *, directory: str | None = None) -> StateMachine:
    """A new machine of the class that `name` ("package.module:Class") names.

    `directory` is searched first (the working directory if None), then the interpreter's usual path.
    Raises `ConfigurationError` that says which part of the name is wrong. Whatever the module itself
    raises while it is imported, or the class while it is made, is told in that error too.
    """
    kind = _find(name, os.path.abspath(directory if directory is not None else os.getcwd()))
    if inspect.isabstract(kind):
        missing = ", ".join(sorted(kind.__abstractmethods__))
        raise ConfigurationError(f"machine {name!r} is abstract: it does not define {missing}")
    try:
        inspect.signature(kind).bind()
    except TypeError as error:
        raise ConfigurationError(
            f"machine {name!r} needs arguments ({error}): its class must be callable without any",
            advice="Give each argument a default, or name a subclass that passes them.",
        ) from error
    try:
        return kind()
    except Exception as error:
        raise ConfigurationError(f"machine {name!r} could not be made: {type(error).__name__}: {error}") from error


def _find(name: str, directory: str) -> type[StateMachine]:
    """The class itself, or a `ConfigurationError`."""
    module_name, colon, class_name = name.partition(":")
    parts = [*module_name.split("."), *class_name.split(".")]
    if not colon or not all(part.isidentifier() for part in parts):
        raise ConfigurationError(
            f"machine {name!r} is not of the form package.module:Class (for example examples.bank:Bank)"
        )
    if directory not in sys.path:
        sys.path.insert(0, directory)
    try:
        found: object = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(error.name + ".")):
            raise ConfigurationError(
                f"machine {name!r}: there is no module {error.name!r} in {directory} nor on Python's path",
                advice="Check the spelling, and start from the directory that holds the package.",
            ) from error
        raise ConfigurationError(f"machine {name!r}: its module needs {error.name!r}, which is not there") from error
    except Exception as error:
        raise ConfigurationError(
            f"machine {name!r}: its module failed while it was imported: {type(error).__name__}: {error}"
        ) from error
    for part in class_name.split("."):
        found = getattr(found, part, None)
    if found is None:
        raise ConfigurationError(f"machine {name!r}: module {module_name!r} has no class {class_name!r}")
    if not isinstance(found, type) or not issubclass(found, StateMachine):
        raise ConfigurationError(f"machine {name!r} is not a StateMachine: subclass coterie.StateMachine")
    return found
