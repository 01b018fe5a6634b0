"""The console's lists accept only the filters that a list declares.

Django uses every other query parameter as a look-up in the database, on any field, even one that no page shows, and
with any operator. On SQLite, `regex` is Python's, and one short pattern can keep it busy for ever.
"""

from typing import Any

from django.contrib import messages
from django.contrib.admin.exceptions import DisallowedModelAdminLookup
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ORDER_VAR, SEARCH_VAR, ChangeList
from django.http import HttpRequest

# Bounded because every word is searched in every search field of every row.
SEARCH_CHARACTERS = 100

NO_SUCH_FILTER = "This list has no such filter or filter value. It is shown unfiltered."
NO_SUCH_SEARCH = f"A search has at most {SEARCH_CHARACTERS} characters. The list is shown unfiltered."


class DeclaredChangeList(ChangeList):
    """Redirects a request with undeclared parameters to the unfiltered list, before any query."""

    def get_filters(self, request: HttpRequest) -> Any:
        if any(len(values) > 1 for _, values in request.GET.lists()):
            self.refuse(request, NO_SUCH_FILTER)
        search = request.GET.get(SEARCH_VAR, "")
        # Django would ignore an invalid search, and an action would then apply to all rows instead of those searched.
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
    """A subclass of `changelist` that accepts only the declared filters."""
    return type(changelist.__name__, (DeclaredChangeList, changelist), {})
