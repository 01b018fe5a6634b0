"""The form of a link's token, as `ShareQuerySet.issue` makes it."""

SHARE_PATTERN = "[A-Za-z0-9_-]{32}"
