"""DRF's request cycle for async actions: what `APIView.dispatch` does, awaited, without what ingest does not need.

Left out: content negotiation (one renderer), versions, throttles, and DRF's own reading of credentials and body, in
whose place come two steps to override.
"""

from collections.abc import Callable
from typing import Any

from asgiref.sync import markcoroutinefunction
from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from devices.wire import JSONRenderer

renderer = JSONRenderer()


class AsyncViewSet(ViewSet):
    """A viewset whose actions are coroutines."""

    async def authenticate(self, request: Request) -> None:
        """Sets `request.user` and `request.auth`. Raises AuthenticationFailed."""
        raise NotImplementedError

    async def receive(self, request: Request) -> None:
        """Reads the body, where it is not there already: after the caller is known to be allowed."""

    @classmethod
    def as_view(cls, actions: Any = None, **initkwargs: Any) -> Callable[..., Any]:  # type: ignore[override]
        # Django awaits what is marked so, and gives anything else a thread.
        return markcoroutinefunction(super().as_view(actions, **initkwargs))

    async def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Response:  # type: ignore[override]
        self.args, self.kwargs = args, kwargs
        self.request = drf_request = self.initialize_request(request, *args, **kwargs)
        self.headers = self.default_response_headers
        drf_request.accepted_renderer, drf_request.accepted_media_type = renderer, renderer.media_type
        try:
            await self.authenticate(drf_request)
            self.check_permissions(drf_request)
            await self.receive(drf_request)
            handler = getattr(self, (request.method or "").lower(), self.http_method_not_allowed)
            response = handler(drf_request, *args, **kwargs)
            if not isinstance(response, Response):
                response = await response
        except Exception as error:
            response = self.handle_exception(error)
        self.response = self.finalize_response(drf_request, response, *args, **kwargs)
        return self.response
