"""The recipes' texts: the code blocks of the documents."""

from markdown_it import MarkdownIt

from benchmarks.pages.console import ROOT

ADDRESS = "telemetry.example.org"


class Changed(AssertionError):
    """A document does not have what a module of this folder expects."""


def blocks(document: str, heading: str) -> list[str]:
    """The code blocks under a heading of level 2 or 3 of `docs/<document>`, to the next heading."""
    found: list[str] = []
    inside = False
    tokens = MarkdownIt("commonmark").enable("table").parse((ROOT / "docs" / document).read_text())
    for place, token in enumerate(tokens):
        if token.type == "heading_open":
            inside = tokens[place + 1].content == heading
        elif token.type == "fence" and inside:
            found.append(token.content)
    if not found:
        raise Changed(f"docs/{document} has no code under {heading!r}.")
    return found


def replaced(text: str, *pairs: tuple[str, str]) -> str:
    """`text` with the first of each pair replaced by the second. Raises Changed if it is not there."""
    for old, new in pairs:
        if old not in text:
            raise Changed(f"The recipe does not have {old!r} any more.")
        text = text.replace(old, new)
    return text


def filled_in(text: str, *, url: str, key: str) -> str:
    """`text` with this server's address and a device's key."""
    host = url.removeprefix("http://")
    for address in (f"https://{ADDRESS}", "http://127.0.0.1:8000"):
        text = text.replace(address, url)
    text = text.replace(f"wss://{ADDRESS}", f"ws://{host}")
    return replaced(text, ("tlm_…", key))
