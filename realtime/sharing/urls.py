from django.urls import path, register_converter
from django.urls.converters import StringConverter

from realtime.sharing.address import SHARE_PATTERN
from realtime.sharing.pages import share_page, share_statistics


class ShareTokenConverter(StringConverter):
    """`<share_token:token>` in a path. A text that cannot be a token does not match (404)."""

    regex = SHARE_PATTERN


register_converter(ShareTokenConverter, "share_token")

urlpatterns = [
    path("<share_token:token>/", share_page, name="share"),
    path("<share_token:token>/statistics", share_statistics, name="share-statistics"),
]
