"""The models by name, and the one that fits a history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from coterie.check.history import HistoryError, Operation
from coterie.check.models.collections import Lock, Queue, SetModel
from coterie.check.models.key_value import KeyValue
from coterie.check.models.model import Model
from coterie.check.models.register import CasRegister, Register
from coterie.check.models.revisions import Revisions

REGISTER: Final = Register()
CAS_REGISTER: Final = CasRegister()
KEY_VALUE: Final = KeyValue()
KV_REVISIONS: Final = Revisions()
QUEUE: Final = Queue()
SET: Final = SetModel()
LOCK: Final = Lock()

MODELS: Final[dict[str, Model]] = {
    model.name: model for model in (REGISTER, CAS_REGISTER, KV_REVISIONS, KEY_VALUE, QUEUE, SET, LOCK)
}
"""In the order in which `model_for` tries them."""


def model_for(history: Sequence[Operation]) -> Model:
    """The first model that has all the history's operations. Raises `HistoryError` if none has."""
    for model in MODELS.values():
        if model.accepts(history):
            return model
    names = {name for model in MODELS.values() for name in model.functions}
    for operation in history:
        if operation.f not in names:
            where = f"line {operation.line}: " if operation.line else ""
            raise HistoryError(f"{where}field 'f' is {operation.f!r}; allowed are {', '.join(sorted(names))}")
    found = ", ".join(sorted({operation.f for operation in history}))
    raise HistoryError(
        f"no model has all of {found}: " + "; ".join(f"{m.name} has {', '.join(m.functions)}" for m in MODELS.values())
    )
