"""What is known of the request at hand, for whoever logs. Without Django: logging is set up before it."""

from contextvars import ContextVar

# The id of the device that the request is of, as soon as that is known; else empty.
calling_device: ContextVar[str] = ContextVar("calling_device", default="")
