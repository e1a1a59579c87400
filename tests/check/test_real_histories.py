"""Histories that others recorded, of an etcd under Jepsen and a key-value store, have the verdicts that are known.

They are data of the porcupine project and no part of this one: set COTERIE_HISTORIES to their directory, or put them
into ../shared/histories beside the checkout.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from coterie.check import linearizable, model_for, read_history, smallest

WHERE = Path(os.environ.get("COTERIE_HISTORIES") or Path(__file__).parents[3] / "shared" / "histories")
VERDICTS = WHERE / "verdicts.json"

pytestmark = pytest.mark.skipif(
    not VERDICTS.is_file(), reason=f"{VERDICTS} is not there: COTERIE_HISTORIES names the directory of the histories"
)


def test_all_are_judged_rightly_within_a_minute_and_what_is_wrong_is_made_small() -> None:
    begun = time.monotonic()
    verdicts = json.loads(VERDICTS.read_text())
    assert verdicts
    found = {}
    for name in verdicts:
        history = read_history((WHERE / name).read_bytes())
        model = model_for(history)
        holds = linearizable(history, model).holds
        found[name] = {True: "linearizable", False: "not-linearizable", None: "unknown"}[holds]
        if holds is False:
            small = smallest(history, model)
            assert small is not None
            assert linearizable(small.operations, model).holds is False
            assert len(small.operations) <= 20
    assert found == verdicts
    assert time.monotonic() - begun < 60
