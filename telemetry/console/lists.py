"""The console's lists accept only the filters that a list declares.

Django uses every other query parameter as a look-up in the database, on any field, even one that no page shows, and
with any operator. On SQLite, `regex` is Python's, and one short pattern can keep it busy for ever.
"""

from typing import Any, NoReturn

from django.contrib import messages
from django.contrib.admin.exceptions import DisallowedModelAdminLookup
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ERROR_FLAG, ORDER_VAR, SEARCH_VAR, ChangeList
from django.db import DataError
from django.db.models import QuerySet
from django.http import HttpRequest

# Bounded because every word is searched in every search field of every row.
SEARCH_CHARACTERS = 100

# Raised for values that no date or number can have: by Python while the query is made (a year of 20 digits, a time that
# is outside the years 1 to 9999 in UTC), by SQLite's driver (an integer of more than 64 bits), and by PostgreSQL.
IMPOSSIBLE_VALUE = (ValueError, OverflowError, DataError)

NO_SUCH_FILTER = "This list has no such filter or filter value. It is shown unfiltered."
NO_SUCH_SEARCH = f"A search has at most {SEARCH_CHARACTERS} characters. The list is shown unfiltered."


class DeclaredChangeList(ChangeList):
    """Redirects a request with undeclared parameters to the unfiltered list, before any query.

    Redirects a request with an impossible value of a declared filter too.
    """

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
        except (DisallowedModelAdminLookup, IncorrectLookupParameters, *IMPOSSIBLE_VALUE):
            self.refuse(request, NO_SUCH_FILTER)
        _, _, taken_by_no_filter, _, _ = found
        if taken_by_no_filter:
            self.refuse(request, NO_SUCH_FILTER)
        return found

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        try:
            return super().get_queryset(request, exclude_parameters)
        except IMPOSSIBLE_VALUE:
            if not asks_for_something(request):
                raise
            self.refuse(request, NO_SUCH_FILTER)

    def get_results(self, request: HttpRequest) -> None:
        # A query is compiled and run only here.
        try:
            super().get_results(request)
        except IMPOSSIBLE_VALUE:
            if not asks_for_something(request):
                raise
            self.refuse(request, NO_SUCH_FILTER)

    def refuse(self, request: HttpRequest, reason: str) -> NoReturn:
        messages.error(request, reason)
        raise IncorrectLookupParameters(reason)


def asks_for_something(request: HttpRequest) -> bool:
    """Whether a parameter of the request can be at fault. If not, an error is the server's, and is logged as one."""
    return bool(request.GET.keys() - {ERROR_FLAG})


def declared(changelist: type[ChangeList]) -> type[ChangeList]:
    """A subclass of `changelist` that accepts only the declared filters."""
    return type(changelist.__name__, (DeclaredChangeList, changelist), {})
