"""Cells of CSV files that hold text that people wrote."""

# Full-width characters too, because a spreadsheet with East Asian input takes them for the others.
FORMULA_STARTS = (*"=+-@\t\r\n", *"＝＋－＠")


def harmless(text: str) -> str:
    """Puts an apostrophe before a text that a spreadsheet would execute as a formula."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def quoted(text: str) -> str:
    """The text as a cell of a file that is not written by the csv module."""
    text = harmless(text)
    return '"' + text.replace('"', '""') + '"' if any(character in text for character in '",\r\n') else text
