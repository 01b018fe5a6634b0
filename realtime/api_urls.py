from django.urls import path

from realtime.tickets import TicketViewSet

urlpatterns = [path("realtime/tickets", TicketViewSet.as_view({"post": "create"}), name="realtime-tickets")]
