from django.urls import path

from readings.alarms.api import converters  # noqa: F401  registers <rule_id:…>
from realtime.saved_views import ViewViewSet
from realtime.sharing.api import ShareViewSet
from realtime.tickets import TicketViewSet

urlpatterns = [
    path("realtime/tickets", TicketViewSet.as_view({"post": "create"}), name="realtime-tickets"),
    path("views", ViewViewSet.as_view({"get": "views", "post": "create"}), name="view-list"),
    path("views/<rule_id:view_id>", ViewViewSet.as_view({"delete": "destroy"}), name="view-detail"),
    path(
        "views/<rule_id:view_id>/shares",
        ShareViewSet.as_view({"get": "shares", "post": "create", "delete": "destroy_all"}),
        name="share-list",
    ),
    path(
        "views/<rule_id:view_id>/shares/<rule_id:share_id>",
        ShareViewSet.as_view({"delete": "destroy"}),
        name="share-detail",
    ),
]
