import uuid

from django.db import models


class Device(models.Model):
    device_id = models.CharField(max_length=64, unique=True)
    api_key_hash = models.CharField(max_length=128, unique=True)
    is_authenticated = True

    class Meta:
        app_label = "obvious"


class Reading(models.Model):
    """The product's columns, keys and indexes, but no `seq`, which an obvious implementation does not have."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    device = models.ForeignKey(Device, to_field="device_id", on_delete=models.PROTECT, db_index=False)
    timestamp = models.DateTimeField(auto_now_add=True)
    temperature = models.FloatField(null=True)
    humidity = models.FloatField(null=True)
    voltage = models.FloatField(null=True)
    extra = models.JSONField(default=dict)

    class Meta:
        app_label = "obvious"
        indexes = [models.Index(fields=["device", "timestamp"])]
