"""What Django's `LogEntry` lacks about a change: how it was made, by which token, and the values before and after."""

from typing import Any

import msgspec
from django.contrib.admin.models import LogEntry
from django.db import models
from django.db.models import TextChoices


class Via(TextChoices):
    """How a change was made. `CONSOLE`: by an account that was signed in, on any page."""

    CONSOLE = "console", "console"
    API_KEY = "api_key", "API key"
    TOKEN = "token", "API token"
    COMMAND = "command", "command"


class ChangeDetail(models.Model):
    """`before` and `after` are JSON objects by field. `device_id`: the device that was changed, if it was one."""

    entry = models.OneToOneField(LogEntry, on_delete=models.CASCADE, primary_key=True, related_name="detail")
    actor = models.CharField(max_length=150)
    via = models.CharField(max_length=10, choices=Via.choices)
    device_id = models.CharField(max_length=64, blank=True, db_index=True)
    before = models.TextField(default="{}")
    after = models.TextField(default="{}")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.actor} by {self.via}"

    @property
    def values(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The values before and after."""
        return msgspec.json.decode(self.before, type=dict), msgspec.json.decode(self.after, type=dict)
