"""Closes the sockets whose credential was revoked, before they get readings committed after the revocation.

Every commit of readings carries the current `AccessVersion`, and so does every read of a log. Readings whose version
is not newer than that of the last check of all open sockets are sent without a query. A newer version means that a
key, device, account, permission or session was changed: then all sockets are checked once before anything is sent.
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
from realtime.protocol.endings import TRY_AGAIN_LATER, Ending
from realtime.stream.subscriptions import Subscription

logger = logging.getLogger(__name__)

# Seconds between two checks of the version (one small query) while there are sockets: a revoked socket is closed
# within a second even if no readings are committed.
LOOK_SECONDS = 0.4

REVOKED = Ending(NOT_AUTHENTICATED, "revoked", "The key, session or account of this socket is no longer valid.")


OTHER_SCOPE = Ending(
    TRY_AGAIN_LATER, "scope_changed", "The devices that this socket may see have changed. Connect again."
)


class Revocations:
    """Checks the sockets of one hub.

    At version `checked_at`, all of them were valid or are being closed. `until` is when the next credential expires.
    """

    def __init__(self, subscriptions: Collection[Subscription]) -> None:
        self.subscriptions = subscriptions
        self.checked_at = 0
        self.until: datetime | None = None
        self.checking = asyncio.Lock()
        self.away = False
        self.task: asyncio.Task[None] | None = None

    def enter(self, subscription: Subscription) -> None:
        """Adds a new socket; changes made after its admission are found by the next check."""
        self.checked_at = min(self.checked_at, subscription.checked_at) if self.task else subscription.checked_at
        # Its credential may have an expiry, which is not known yet: check now.
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
                        logger.warning("Credentials not checked: the database does not answer (%s)", str(error).strip())
                    self.away = True
                except Exception:
                    logger.exception("Credentials could not be checked")
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            self.task = None

    async def catch_up(self, version: int) -> None:
        """Returns once all sockets were checked at this version or a later one. Raises DatabaseError."""
        if version > self.checked_at:
            async with self.checking:
                # Another task may have checked while this one waited for the lock.
                if version > self.checked_at:
                    await self.look()

    async def look(self) -> None:
        """Checks all sockets if something was changed or a credential expires; closes those that are no longer valid.

        Raises DatabaseError.
        """
        now = timezone.now()
        asked = {subscription.credential for subscription in self.subscriptions}
        changed_since = None if self.until is not None and self.until <= now else self.checked_at
        found = await credentials_in_database(standing, asked, version=changed_since, now=now)
        if found is None:
            return
        self.until = found.until
        for subscription in self.subscriptions:
            if subscription.credential in asked:
                rights = found.rights[subscription.credential]
                if not subscription.may_watch(rights):
                    subscription.outgoing.give_up(REVOKED)
                elif subscription.has_other_scope(rights):
                    subscription.outgoing.give_up(OTHER_SCOPE)
                subscription.checked_at = found.version
            else:  # it was added during the check
                self.until = now
        self.checked_at = min((subscription.checked_at for subscription in self.subscriptions), default=found.version)
