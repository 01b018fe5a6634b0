"""The device of the current request, for log lines. Does not import Django, because logging is set up before Django."""

from contextvars import ContextVar

# The device id of the calling device, once it is authenticated; until then empty.
calling_device: ContextVar[str] = ContextVar("calling_device", default="")
