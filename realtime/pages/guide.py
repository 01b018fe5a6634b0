"""`/guide`: the documents in `docs/` as pages, readable without internet access."""

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from realtime.pages.markdown import PAGES, rendered, server_address

FIRST = "quick-start"


@require_safe
def guide_page(request: HttpRequest, page: str = FIRST) -> HttpResponse:
    """One document beside the list of all documents. Needs no sign-in, like the API documentation."""
    if page not in PAGES:
        raise Http404
    title, file = PAGES[page]
    document = rendered(file, server_address(request))
    pages = [(slug, name) for slug, (name, _) in PAGES.items()]
    context = {"title": title, "document": document, "pages": pages, "page": page}
    return render(request, "realtime/guide.html", context)
