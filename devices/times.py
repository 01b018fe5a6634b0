"""How times are written in JSON and CSV."""

from datetime import UTC, datetime


def rfc3339(moment: datetime) -> str:
    """A time in UTC, always with six digits of the second (RFC 3339): `2026-05-09T12:00:00.000000Z`.

    Always six, because a program that finds two forms in one column may leave it as text, as pandas does.
    """
    text = moment.isoformat(timespec="microseconds")
    return f"{text[:-6]}Z" if text.endswith("+00:00") else rfc3339(moment.astimezone(UTC))
