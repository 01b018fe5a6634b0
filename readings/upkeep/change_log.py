"""Bounds the list of changes, to which a program with the administrator's key can add without end."""

from collections.abc import Iterator

from django.contrib.admin.models import LogEntry
from django.db.models import Count

# Of each account, so that a program that changes devices all day does not displace the changes of people.
CHANGES_KEPT = 20_000
# Deleted in one transaction, because on SQLite no device can post meanwhile.
CHUNK_ROWS = 5_000


def trim_changes() -> Iterator[int]:
    """Deletes all but the newest CHANGES_KEPT changes of each account; yields how many, after each transaction."""
    counted = LogEntry.objects.order_by().values_list("user").annotate(count=Count("pk"))
    for user, _ in counted.filter(count__gt=CHANGES_KEPT):
        entries = LogEntry.objects.filter(user=user).order_by("-id")
        oldest_kept = entries.values_list("id", flat=True)[CHANGES_KEPT - 1]
        old = LogEntry.objects.filter(user=user, id__lt=oldest_kept).order_by("id")
        while chunk := list(old.values_list("id", flat=True)[:CHUNK_ROWS]):
            yield old.filter(id__lte=chunk[-1]).delete()[0]
