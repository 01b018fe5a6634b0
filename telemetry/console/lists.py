"""The console's lists: an address may ask for the filters that a list declares, and for nothing else.

Django hands every other parameter to the database as a look-up: of any field, also one that no page shows, and by any
operator. On SQLite `regex` is Python's, which one short pattern keeps busy for good.
"""

from typing import Any

from django.contrib import messages
from django.contrib.admin.exceptions import DisallowedModelAdminLookup
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ORDER_VAR, SEARCH_VAR, ChangeList
from django.http import HttpRequest

# Every word of a search is looked for in every search field of every row.
SEARCH_CHARACTERS = 100

NO_SUCH_FILTER = "This list has no such filter, or no such value of it. It is shown unfiltered."
NO_SUCH_SEARCH = f"A search has at most {SEARCH_CHARACTERS} characters. The list is shown unfiltered."


class DeclaredChangeList(ChangeList):
    """Answers anything that the list does not declare with a redirect to the whole list, before any query."""

    def get_filters(self, request: HttpRequest) -> Any:
        if any(len(values) > 1 for _, values in request.GET.lists()):
            self.refuse(request, NO_SUCH_FILTER)
        search = request.GET.get(SEARCH_VAR, "")
        # Django would leave out a search that it cannot take, and do what was chosen for this search to all there is.
        if len(search) > SEARCH_CHARACTERS or "\x00" in search:
            self.refuse(request, NO_SUCH_SEARCH)
        if request.GET.get(ORDER_VAR, "").count(".") >= len(self.list_display):
            self.refuse(request, NO_SUCH_FILTER)
        try:
            found = super().get_filters(request)
        except (DisallowedModelAdminLookup, IncorrectLookupParameters):
            self.refuse(request, NO_SUCH_FILTER)
        _, _, taken_by_no_filter, _, _ = found
        if taken_by_no_filter:
            self.refuse(request, NO_SUCH_FILTER)
        return found

    def refuse(self, request: HttpRequest, reason: str) -> Any:
        messages.error(request, reason)
        raise IncorrectLookupParameters(reason)


def declared(changelist: type[ChangeList]) -> type[ChangeList]:
    """The same list, of which an address may ask no more than it declares."""
    return type(changelist.__name__, (DeclaredChangeList, changelist), {})
