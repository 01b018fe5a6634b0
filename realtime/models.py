from django.conf import settings
from django.db import models

from devices.models import ApiToken, Device
from realtime.access.credentials import Credential
from realtime.querysets import ShareManager, TicketManager, ViewQuerySet

VIEW_NAME_LENGTH = 100
# A hundred device ids of 64 characters and 35 names of metrics of 63, as parameters.
QUERY_LENGTH = 12_000


class Ticket(models.Model):
    """A permission to open one socket, once, for a browser on another origin, which has no session and no key.

    Only the token's hash is stored, as with keys. `device` is what may be watched; None means the whole fleet.
    `key_hash`, `user` or `token` is the issuer (all None: a key from the settings). When the issuer's key, account or
    API token becomes invalid, so does the ticket, and the socket opened with it is closed.
    """

    token_hash = models.CharField(max_length=64, primary_key=True)
    # Without a constraint in the database, because it would draw the tables of accounts into a distributed one.
    device = models.ForeignKey(Device, null=True, on_delete=models.CASCADE, related_name="+", db_constraint=False)
    key_hash = models.CharField(max_length=64, null=True)  # noqa: DJ001  null means: not issued by a device's key
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="+")
    token = models.ForeignKey(ApiToken, null=True, on_delete=models.CASCADE, related_name="+")
    expires_at = models.DateTimeField(db_index=True)

    objects = TicketManager()

    def __str__(self) -> str:
        return f"Ticket for {self.device or 'the fleet'}"

    @property
    def credential(self) -> Credential:
        return Credential(key_hash=self.key_hash, user_id=self.user_id, token_id=self.token_id)


class View(models.Model):
    """What the page `/explore/` shows, saved under a name: the query string of its address.

    `created_by`: the name of the account, or of the service account of changes.
    """

    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=VIEW_NAME_LENGTH, unique=True)
    query = models.CharField(max_length=QUERY_LENGTH)
    created_by = models.CharField(max_length=150)
    created_at = models.DateTimeField()

    objects = ViewQuerySet.as_manager()

    class Meta:
        default_permissions = ("view", "add", "delete")

    def __str__(self) -> str:
        return self.name


class Share(models.Model):
    """A link that shows one view, read-only, to whoever has it, until it expires or is deleted.

    Only the token's hash is stored, as with keys; `hint` is how the link's token begins. `user` is the account, or
    `token` the API token, that made the link (both None: the administrator's key). The link shows what its maker may
    see, and ends when the maker may no longer view readings. Database triggers count a change in `AccessVersion`, so
    that open sockets are checked.
    """

    id = models.BigAutoField(primary_key=True)
    view = models.ForeignKey(View, on_delete=models.CASCADE, related_name="+")
    token_hash = models.CharField(max_length=64, unique=True)
    hint = models.CharField(max_length=8)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="+")
    token = models.ForeignKey(ApiToken, null=True, on_delete=models.CASCADE, related_name="+")
    created_by = models.CharField(max_length=150)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    objects = ShareManager()

    class Meta:
        default_permissions = ("view", "add", "delete")

    def __str__(self) -> str:
        return f"{self.view} ({self.hint}…)"

    @property
    def credential(self) -> Credential:
        return Credential(share_hash=self.token_hash)
