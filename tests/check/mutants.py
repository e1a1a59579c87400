"""Wrong changes of the checker itself, and which of its tests must notice each.

A checker that calls wrong histories right is worse than none, and one that calls right histories wrong is ignored; so
the tests of `check/` are tested as the simulated world is (`tests/mutants/`).
"""

from __future__ import annotations

from typing import Final

from tests.check.model_mutants import FILES, OBJECTS_WRONG, WEAKER_MODELS
from tests.check.search_mutants import COUNTEREXAMPLES, SEARCHES

MUTANTS: Final = SEARCHES + COUNTEREXAMPLES + OBJECTS_WRONG + WEAKER_MODELS + FILES
