"""Serves static files as they are now, also when they were changed while the server runs."""

import os
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from servestatic.middleware import ServeStaticMiddleware
from servestatic.responders import MissingFileError


class StaticFiles(ServeStaticMiddleware):  # type: ignore[misc]  # servestatic has no types
    """ServeStatic reads sizes once, at the start. Of a file that became shorter it then announces more bytes than it
    sends, and browsers wait for the rest. So each request looks whether its file has changed, which takes microseconds.

    A file that is gone is a 404. A new one is served after a restart.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        # By URL: the path of the file, its root, and its size and time of change when it was read.
        self.sources: dict[str, tuple[str, Any, tuple[int, int]]] = {}
        super().__init__(*arguments, **options)

    def add_file_to_dictionary(self, url: str, path: str, root: Any = None, stat_cache: Any = None) -> None:
        found = (stat_cache or {}).get(path) or os.stat(path)
        self.sources[url] = path, root, state_of(found)
        super().add_file_to_dictionary(url, path, root=root, stat_cache=stat_cache)

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        self.follow(request.path_info)
        response: HttpResponseBase = await super().__call__(request)
        return response

    def follow(self, url: str) -> None:
        """Reads the size of the file again, if it has changed."""
        if (source := self.sources.get(url)) is None:
            return
        path, root, known = source
        try:
            if url not in self.files or state_of(os.stat(path)) != known:
                self.add_file_to_dictionary(url, path, root)
        except (OSError, MissingFileError):
            self.files.pop(url, None)


def state_of(found: os.stat_result) -> tuple[int, int]:
    return found.st_size, found.st_mtime_ns
