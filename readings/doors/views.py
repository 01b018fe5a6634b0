"""What the doors over HTTP share: which are open, keys, and notes of values that were not stored."""

import time
from collections.abc import Iterable, Sequence
from datetime import datetime

from django.contrib.auth.models import AnonymousUser
from django.utils import timezone
from rest_framework.exceptions import NotFound
from rest_framework.request import Request

from devices.access.authentication import caller_of
from readings import instruments
from readings.doors.keys import key_in_headers
from readings.doors.registering import record_seen
from readings.doors.skipped_values import TITLES, skipped_posts
from readings.doors.switches import Door, is_open
from readings.doors.translation import Skipped
from readings.ingest.posting import PostingViewSet
from readings.log.entries import NewReading
from readings.log.recording import Recorded


class DoorClosed(NotFound):
    default_code = "door_closed"

    def __init__(self, door: Door) -> None:
        super().__init__(f"{TITLES[door]} is not accepted here: the setting DOORS does not name {door.value}.")


class DoorViewSet(PostingViewSet):
    """Endpoints of another protocol. `authenticate` finds who calls."""

    door: Door

    def key_of(self, request: Request) -> str | None:
        return key_in_headers(request.META)

    async def authenticate(self, request: Request) -> None:
        request.user, request.auth = AnonymousUser(), None
        if not is_open(self.door):
            raise DoorClosed(self.door)
        await super().authenticate(request)

    async def record(self, readings: Sequence[NewReading], *, received_at: datetime) -> list[Recorded]:
        """As in `PostingViewSet`; a token with the scope `register` first registers the devices that are unknown."""
        return await record_seen(caller_of(self.request), self.way, readings, received_at=received_at)

    async def note_skipped(self, skipped: Iterable[tuple[str, Skipped]], *, status: int) -> None:
        """Counts and notes values that were not stored: device id and value. `status`: of the answer."""
        posts = skipped_posts(
            skipped,
            door=self.door,
            caller=caller_of(self.request).role.value,
            limit=caller_of(self.request).limit,
            address=self.request.META.get("REMOTE_ADDR") or "",
            status=status,
            now=time.monotonic(),
        )
        for refusal, count in posts:
            await self.way.note(refusal, now=timezone.now(), count=count)

    def count(self, recorded: Sequence[Recorded], *, refused: int) -> None:
        """Counts the outcomes; `refused`: readings that were refused before they reached the log."""
        duplicates = sum(outcome.duplicate for outcome in recorded)
        stored = sum(outcome.reading is not None for outcome in recorded) - duplicates
        outcomes = {"stored": stored, "duplicate": duplicates}
        outcomes["refused"] = refused + len(recorded) - stored - duplicates
        for outcome, count in outcomes.items():
            if count:
                instruments.DOOR_READINGS.labels(self.door.value, outcome).inc(count)
