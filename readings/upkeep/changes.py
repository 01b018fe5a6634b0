"""Bounds the list of changes, to which a program with the administrator's key can add without end."""

from django.contrib.admin.models import LogEntry
from django.db.models import Count

# Of each account, so that a program that changes devices all day does not displace the changes of people.
CHANGES_KEPT = 20_000


def trim_changes() -> int:
    """Deletes all but the newest CHANGES_KEPT changes of each account; returns how many it deleted."""
    deleted = 0
    counted = LogEntry.objects.order_by().values_list("user").annotate(count=Count("pk"))
    for user, _ in counted.filter(count__gt=CHANGES_KEPT):
        entries = LogEntry.objects.filter(user=user).order_by("-id")
        oldest_kept = entries.values_list("id", flat=True)[CHANGES_KEPT - 1]
        deleted += entries.filter(id__lt=oldest_kept).delete()[0]
    return deleted
