"""The ASGI application: HTTP to Django, WebSockets to the consumers."""

import gc
import os
import sys

from django.core.asgi import get_asgi_application

from telemetry.server.memory import limit_arenas

# A server started without manage.py.
limit_arenas()
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "telemetry.settings")
django_application = get_asgi_application()

from channels.routing import ProtocolTypeRouter
from django.conf import settings
from django.core.management.base import BaseCommand

from realtime.routing import websocket_application
from telemetry.gateway.bodies import BoundedBodies
from telemetry.gateway.ingest_lane import IngestLane
from telemetry.gateway.lifespan import lifespan
from telemetry.gateway.proxies import TrustedProxies
from telemetry.gateway.request_limits import BoundedQuestions
from telemetry.gateway.socket_log import ObservedSockets
from telemetry.monitoring.redaction import redact_access_log

# A server started without manage.py would skip the system checks, which refuse an unsafe configuration.
BaseCommand().check()

sockets = ObservedSockets(websocket_application)
questions = BoundedQuestions(django_application, per_caller=settings.QUESTIONS_PER_CALLER)
protocols = ProtocolTypeRouter({"http": questions, "websocket": sockets, "lifespan": lifespan})
lane = IngestLane(BoundedBodies(protocols, limit=settings.MAX_BODY_BYTES), limit=settings.MAX_BODY_BYTES)
application = TrustedProxies(lane, trusted=settings.TRUSTED_PROXIES)

if access := sys.modules.get("daphne.access"):
    redact_access_log(access.AccessLogGenerator)


# Modules loaded by now stay for ever. Without this the garbage collector scans them again and again, 50 ms each time.
gc.collect()
gc.freeze()
