"""How times are written in JSON and CSV."""

from datetime import UTC, datetime


def rfc3339(moment: datetime) -> str:
    """A time in UTC, always with six digits of the second (RFC 3339): `2026-05-09T12:00:00.000000Z`.

    Always six, because a program that finds two forms in one column may leave it as text, as pandas does.
    """
    text = moment.isoformat(timespec="microseconds")
    return f"{text[:-6]}Z" if text.endswith("+00:00") else rfc3339(moment.astimezone(UTC))


def encodable(moment: datetime) -> datetime | str:
    """A time in UTC for msgspec to encode as `rfc3339` does: the time itself, which is faster, or a text.

    msgspec writes six digits too, but leaves out the fraction on a whole second.
    """
    return moment if moment.microsecond else rfc3339(moment)
