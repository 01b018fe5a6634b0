"""Notes when tokens were last used, in a thread of its own, so that no request waits for it or fails because of it."""

import logging
import threading
from collections.abc import Callable, Collection
from datetime import datetime, timedelta

from django.db import connection, models
from django.db.models import Q

from devices.database.work_kinds import Work, current_work

logger = logging.getLogger(__name__)

# How old `last_used_at` may become while a token is used, and how seldom a process tries to note a use of one token.
NOTED_AFTER = timedelta(minutes=1)


def in_a_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="token-uses", daemon=True).start()


class Uses:
    """The uses of tokens that one process has to note. At most one thread at a time writes them."""

    def __init__(self, begin: Callable[[Callable[[], None]], None] = in_a_thread) -> None:
        self.begin = begin
        self.changed = threading.Lock()
        # When a use of a token was last tried to be noted; those of the last NOTED_AFTER, by the id of the token.
        self.tried: dict[int, datetime] = {}
        self.waiting: set[int] = set()
        self.writing = False

    def note(self, ids: Collection[int], *, now: datetime) -> None:
        """Notes that these tokens are used, unless that was tried less than NOTED_AFTER ago. Returns immediately."""
        with self.changed:
            self.tried = {pk: at for pk, at in self.tried.items() if now - NOTED_AFTER < at <= now}
            due = [pk for pk in ids if pk not in self.tried]
            self.tried |= dict.fromkeys(due, now)
            self.waiting.update(due)
            if not self.waiting or self.writing:
                return
            self.writing = True
        try:
            self.begin(self.write)
        except RuntimeError:  # the process has no room for a thread, or ends
            self.writing = False

    def write(self) -> None:
        """Writes until nothing waits. A use that cannot be written is dropped: a later one is noted."""
        while (ids := self.taken()) is not None:
            self.write_some(ids)

    def taken(self) -> set[int] | None:
        with self.changed:
            if not self.waiting:
                self.writing = False
                return None
            ids, self.waiting = self.waiting, set()
            return ids

    def write_some(self, ids: Collection[int]) -> None:
        from django.utils import timezone

        from devices.models import ApiToken

        work = current_work.set(Work.INGEST)
        try:
            now = timezone.now()
            old: models.Q = Q(last_used_at=None) | Q(last_used_at__lt=now - NOTED_AFTER)
            ApiToken.objects.filter(old, pk__in=ids).update(last_used_at=now)
        except Exception as error:  # of any kind: it is no error of a request, and later uses are noted
            logger.debug("The use of tokens was not noted: %s", error)
        finally:
            current_work.reset(work)
            if not connection.in_atomic_block:
                connection.close()


uses = Uses()
