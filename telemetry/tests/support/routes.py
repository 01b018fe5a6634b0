"""All URLs of the product, from the URL configuration and the routing of the sockets."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from django.urls import URLResolver, get_resolver

from realtime.routing import websocket_application


class Route(NamedTuple):
    """A route. `name` includes the namespace; for a route without a name it is the path."""

    name: str
    path: str
    methods: frozenset[str]


def routes(resolver: Any = None, path: str = "", namespace: str = "") -> Iterator[Route]:
    for entry in (resolver or get_resolver()).url_patterns:
        here = path + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from routes(entry, here, f"{entry.namespace}:" if entry.namespace else namespace)
        else:
            yield Route(namespace + entry.name if entry.name else here, here, methods(entry.callback))


def methods(view: Any) -> frozenset[str]:
    """The methods of a view, without HEAD and OPTIONS; a plain function is assumed to be a page."""
    names = {"get"}
    if actions := getattr(view, "actions", None):
        names = set(actions)
    elif view_class := getattr(view, "view_class", None) or getattr(view, "cls", None):
        names = {name for name in view_class.http_method_names if hasattr(view_class, name)}
    return frozenset(name.upper() for name in names) - {"HEAD", "OPTIONS"}


def sockets() -> list[str]:
    """The URL patterns of the sockets."""
    application: Any = websocket_application
    while not hasattr(application, "routes"):
        application = getattr(application, "inner", None) or application.application
    return [str(route.pattern) for route in application.routes]
