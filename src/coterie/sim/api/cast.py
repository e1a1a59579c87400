"""Which callers of the API a world has."""

from __future__ import annotations

from typing import Final

from coterie.core.types import MemberId
from coterie.sim.api.caller import ApiCaller
from coterie.sim.api.judge import ApiHistory
from coterie.sim.api.kv_caller import KeyValueCaller
from coterie.sim.api.lease_caller import LeaseCaller
from coterie.sim.api.lock_caller import LockCaller
from coterie.sim.api.watch_caller import WatchCaller
from coterie.sim.api.wire import Calls
from coterie.sim.options import Options

FIRST_NUMBER: Final = 100
"""Of a caller: native clients have lower ones, so that all written values differ."""
KINDS: Final[tuple[type[ApiCaller], ...]] = (KeyValueCaller, WatchCaller, LeaseCaller, LockCaller)


def callers(options: Options, members: list[MemberId], calls: Calls, judge: ApiHistory) -> list[ApiCaller]:
    """As many as the options say, of each kind in turn, and as many more that read and write; `members` may grow."""
    kinds = [KINDS[number % len(KINDS)] for number in range(options.clients)] + [KeyValueCaller] * options.clients
    return [kind(FIRST_NUMBER + number, options, members, calls, judge) for number, kind in enumerate(kinds)]
