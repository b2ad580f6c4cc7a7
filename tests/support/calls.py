"""Calls without the server's chain around them: handlers see a caller as the chain would tell them."""

from typing import Any

from libs.feed.publish.service import FeedServicer
from libs.server.call import Call, enter
from libs.server.identity import Identity, Role


def enter_as(service: str) -> None:
    """Have what follows in this task be a call by a service."""
    enter(Call(Identity(Role.SERVICE, service), "", "", "", float("inf")))


class CalledFeed(FeedServicer):
    """A feed that one service reads, whoever calls."""

    caller = "watcher"

    async def PullEvents(self, request: Any, context: Any) -> Any:
        """Answer as to that service."""
        enter_as(self.caller)
        return await super().PullEvents(request, context)

    async def ReadSnapshot(self, request: Any, context: Any) -> Any:
        """Answer as to that service."""
        enter_as(self.caller)
        return await super().ReadSnapshot(request, context)
