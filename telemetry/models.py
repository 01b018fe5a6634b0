from django.db import models


class HealthProbe(models.Model):
    """A single row that `/health` writes, because a database that can be read may still refuse to store readings."""

    id = models.PositiveSmallIntegerField(primary_key=True)
    written_at = models.DateTimeField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.written_at:%Y-%m-%d %H:%M:%S}"
