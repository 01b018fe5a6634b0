from django.conf import settings
from django.db import models

from devices.models import Device
from realtime.access.credentials import Credential
from realtime.querysets import TicketManager


class Ticket(models.Model):
    """Leave to open one socket, once: for a browser on another origin, which has neither the session nor a key.

    Kept by hash, as keys are. `device` is what may be watched; None is the whole fleet. `key_hash` or `user` issued it
    (neither: a key of the settings), and what no longer counts of them ends the ticket and the socket it opened.
    """

    token_hash = models.CharField(max_length=64, primary_key=True)
    device = models.ForeignKey(Device, null=True, on_delete=models.CASCADE, related_name="+")
    key_hash = models.CharField(max_length=64, null=True)  # noqa: DJ001  null: not issued by a device's key
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="+")
    expires_at = models.DateTimeField(db_index=True)

    objects = TicketManager()

    def __str__(self) -> str:
        return f"Ticket for {self.device or 'the fleet'}"

    @property
    def credential(self) -> Credential:
        return Credential(key_hash=self.key_hash, user_id=self.user_id)
