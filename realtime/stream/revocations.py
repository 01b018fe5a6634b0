"""Closes the sockets whose credential counts no more, before they are sent what was committed after its end.

Every commit of readings says which `AccessVersion` it found, and so does every read of the log. As long as it is not
newer than the version at which all open sockets were last checked, it may be sent: no query is made. A newer one means
that a key, device, account, permission or session was changed: then all are checked, once, before it is sent.
"""

import asyncio
import logging
from collections.abc import Collection
from datetime import datetime

from django.db import DatabaseError, InterfaceError
from django.utils import timezone

from realtime.access.admission import NOT_AUTHENTICATED
from realtime.access.credentials import standing
from realtime.database import credentials_in_database
from realtime.protocol.endings import Ending
from realtime.stream.subscriptions import Subscription

logger = logging.getLogger(__name__)

# Between two looks at the version, one small query, as long as there are sockets: whoever has lost the right to watch
# is closed within a second, also where nothing is committed.
LOOK_SECONDS = 0.4

REVOKED = Ending(NOT_AUTHENTICATED, "revoked", "The key, session or account this was opened with counts no more.")


class Revocations:
    """Of the sockets of one hub. `checked_at`: all of them counted at this version, or are being closed."""

    def __init__(self, subscriptions: Collection[Subscription]) -> None:
        self.subscriptions = subscriptions
        self.checked_at = 0
        self.until: datetime | None = None
        self.checking = asyncio.Lock()
        self.away = False
        self.task: asyncio.Task[None] | None = None

    def enter(self, subscription: Subscription) -> None:
        """To be called for a new one: what was changed after its admission is yet to be looked at."""
        self.checked_at = min(self.checked_at, subscription.checked_at) if self.task else subscription.checked_at
        # It may end by itself, and nobody has asked when.
        self.until = timezone.now()
        if self.task is None:
            self.task = asyncio.create_task(self.run())

    async def run(self) -> None:
        try:
            while self.subscriptions:
                try:
                    async with self.checking:
                        await self.look()
                    self.away = False
                except (DatabaseError, InterfaceError) as error:
                    if not self.away:
                        logger.warning("Credentials are not checked: the database is away (%s)", str(error).strip())
                    self.away = True
                except Exception:
                    logger.exception("Credentials could not be checked")
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            self.task = None

    async def catch_up(self, version: int) -> None:
        """Returns when all sockets were checked at this version or a later one. Raises DatabaseError."""
        if version > self.checked_at:
            async with self.checking:
                # Another may have done it meanwhile.
                if version > self.checked_at:
                    await self.look()

    async def look(self) -> None:
        """Checks all sockets where anything was changed, or one ends by itself; closes those that count no more."""
        now = timezone.now()
        asked = {subscription.credential for subscription in self.subscriptions}
        changed_since = None if self.until is not None and self.until <= now else self.checked_at
        found = await credentials_in_database(standing, asked, version=changed_since, now=now)
        if found is None:
            return
        self.until = found.until
        for subscription in self.subscriptions:
            if subscription.credential in found.revoked:
                subscription.outgoing.give_up(REVOKED)
            if subscription.credential in asked:
                subscription.checked_at = found.version
            else:  # it came meanwhile
                self.until = now
        self.checked_at = min((subscription.checked_at for subscription in self.subscriptions), default=found.version)
