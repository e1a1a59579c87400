"""The base of every error that Coterie raises on purpose, and the core's own."""

from __future__ import annotations

from enum import Enum


class Effect(Enum):
    """Whether an operation that failed took effect."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class CoterieError(Exception):
    """Base of all. `effect` says whether the operation may have happened; `advice` what to do next."""

    effect: Effect = Effect.NO
    advice: str = ""

    def __init__(self, message: str, *, effect: Effect | None = None, advice: str | None = None) -> None:
        super().__init__(message)
        if effect is not None:
            self.effect = effect
        if advice is not None:
            self.advice = advice


class ConfigurationError(CoterieError):
    """A setting breaks its rule; the message names the setting, the value and the rule."""


class SafetyViolation(CoterieError):
    """A rule that consensus rests on was seen broken: the node must stop and keep the evidence."""
