from django.urls import path

from realtime.api import TicketViewSet

urlpatterns = [path("realtime/tickets", TicketViewSet.as_view({"post": "create"}), name="realtime-tickets")]
