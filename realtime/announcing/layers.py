"""What announcing asks of a channel layer on servers of its own. It imports no Redis, which takes 19 MB."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import Any


class ServersLayer(ABC):
    """A channel layer that can tell who listens, and sends to many groups at a time."""

    @abstractmethod
    async def heard(self, groups: Collection[str]) -> set[str]:
        """Those of `groups` that have a listener in any process. Raises the errors of the servers."""

    @abstractmethod
    async def send_to_groups(self, messages: Sequence[tuple[str, dict[str, Any]]]) -> None:
        """Sends each message to its group, in order. Raises the errors of the servers."""

    @abstractmethod
    async def probe(self, *, seconds: float) -> dict[int, Exception]:
        """The error of each server that does not take a message within this time, by the number of the server."""

    @abstractmethod
    def by_server(self, groups: Collection[str]) -> dict[int, list[str]]:
        """The groups by the number of the server that carries them, from 0 on."""
