"""What clients of the network may ask: not what only members may, and where the machine has users, what theirs may."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from coterie.engine.protocol import Failure, FailureCode, Happened, Hello, LogIn, Query, Request, Submit
from coterie.machine.interface import StateMachine
from coterie.runtime.api import Api
from coterie.runtime.clients import NativeClient

_MEMBERS_ALONE = "only members of the cluster may ask this: it says of itself on whose behalf it comes"


class Door:
    """Between the clients' port and the engine."""

    def __init__(self, machine: StateMachine) -> None:
        self._for_members_alone: Callable[[bytes], bool] | None = None
        if type(machine).for_members_alone is not StateMachine.for_members_alone:
            self._for_members_alone = machine.for_members_alone

    def log_in(self, client: NativeClient, request: LogIn, api: Api | None) -> None:
        """Find out whether the client is who it says; without an API nobody asks."""
        if api is None:
            client.logged_in(None)
        else:
            api.log_in(client, request)

    def admit(self, client: NativeClient, requests: list[Request], api: Api | None) -> list[Request]:
        """What the engine is to have of a client's requests; the others have been answered."""
        for_members_alone = self._for_members_alone
        if for_members_alone is not None:
            for request in requests:
                body = (
                    request.command if type(request) is Submit else request.question if type(request) is Query else None
                )
                if body is not None and for_members_alone(body):
                    return self._refuse_as_member(client, requests)
        return requests if api is None or not api.guarded else api.admit(client, requests)

    def _refuse_as_member(self, client: NativeClient, requests: list[Request]) -> list[Request]:
        """One of the requests says what only members may say: whoever sends that is refused the others, too."""
        client.deliver(*refusals(requests, FailureCode.INVALID, _MEMBERS_ALONE))
        return []


def refusals(requests: Sequence[Request], code: FailureCode, text: str) -> list[Failure]:
    """The answer to each: it did not happen."""
    return [Failure(r.id, code, Happened.NO, text) for r in requests if not isinstance(r, Hello | LogIn)]
