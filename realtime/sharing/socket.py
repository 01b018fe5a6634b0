"""The socket of a link's page. It has no readings: it is open as long as the link is valid, and closes with it.

The page loads its statistics over HTTP, because frames of readings would show metrics that are not in the view.
"""

from datetime import datetime

from django.utils import timezone

from devices.models import AccessVersion
from realtime.access.admission import NOT_FOUND, Admission, Handshake, Refused
from realtime.consumers import Consumer
from realtime.database import in_database
from realtime.models import Share
from realtime.protocol import frames
from realtime.protocol.endings import Ending
from realtime.stream.hub import current_hub

ENDED = Ending(NOT_FOUND, "link_ended", "The link has expired, or it was withdrawn.")


def admit_link(token: str, *, now: datetime) -> tuple[Admission, Share]:
    """Raises Refused unless the link is valid."""
    version = AccessVersion.objects.current()  # read first, so that a change during the check is noticed later
    share = Share.objects.for_token(token, now=now)
    if share is None:
        raise Refused(ENDED)
    return Admission(None, share.credential, version, sees_alarms=False), share


class ShareConsumer(Consumer):
    async def serve(self, handshake: Handshake) -> None:
        admission, share = await in_database(admit_link, self.scope["url_route"]["kwargs"]["token"], now=timezone.now())
        subscription, hub = self.subscription(admission), current_hub()
        try:
            hub.enter(subscription)
            self.outgoing.put(frames.shared(share.expires_at))
            await self.listen()
        finally:
            hub.leave(subscription)
