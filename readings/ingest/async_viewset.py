"""DRF's request cycle (`APIView.dispatch`) for async actions, without the parts that ingest does not need.

Left out: content negotiation (there is one renderer), versioning, and DRF's authentication, which `authenticate`
replaces. Successful answers are a `JSONResponse`. Only errors use DRF's `Response`, a template response with a
renderer, because it takes as much time as everything else together.
"""

from collections.abc import Callable
from typing import Any

import msgspec
from asgiref.sync import markcoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from devices.api.json import JSONParser, JSONRenderer

renderer = JSONRenderer()
parsers = (JSONParser(),)


class JSONResponse(HttpResponse):
    def __init__(self, document: Any, *, status: int) -> None:
        super().__init__(msgspec.json.encode(document), content_type=renderer.media_type, status=status)


class AsyncViewSet(ViewSet):
    """A viewset whose actions are coroutines."""

    async def authenticate(self, request: Request) -> None:
        """Sets `request.user` and `request.auth`. Raises AuthenticationFailed."""
        raise NotImplementedError

    @classmethod
    def as_view(cls, actions: Any = None, **initkwargs: Any) -> Callable[..., Any]:  # type: ignore[override]
        # Marked because Django awaits only marked views and runs all others in a thread.
        return markcoroutinefunction(super().as_view(actions, **initkwargs))

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        method = (request.method or "").lower()
        self.action = "metadata" if method == "options" else self.action_map.get(method) or ""
        drf_request = Request(
            request,
            parsers,
            authenticators=self.get_authenticators(),  # only their header is used, to choose between 401 and 403
            negotiator=self.get_content_negotiator(),
            parser_context={"view": self},
        )
        drf_request.accepted_renderer, drf_request.accepted_media_type = renderer, renderer.media_type
        return drf_request

    async def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:  # type: ignore[override]
        self.args, self.kwargs = args, kwargs
        self.request = drf_request = self.initialize_request(request, *args, **kwargs)
        try:
            await self.authenticate(drf_request)
            self.check_permissions(drf_request)
            self.check_throttles(drf_request)
            method = (request.method or "").lower()
            # Only names of methods, because a client could name any attribute: QUERY would call an action `query`.
            known = method in self.http_method_names
            handler = getattr(self, method, self.http_method_not_allowed) if known else self.http_method_not_allowed
            response = handler(drf_request, *args, **kwargs)
            answer: HttpResponseBase = response if isinstance(response, Response) else await response
        except Exception as error:
            answer = self.handle_exception(error)
        if isinstance(answer, Response):
            self.headers = self.default_response_headers
            answer = self.finalize_response(drf_request, answer, *args, **kwargs)
        return answer
