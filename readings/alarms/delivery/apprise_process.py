"""Sends one message with Apprise, in a process of its own that may connect only to allowed addresses.

Reads a `Task` as JSON from its standard input and writes a `Result` to its output. An audit hook of Python checks the
very address that any socket connects to, whichever plugin opens it, and refuses files outside Python's own folders and
other programs: some plugins read files that their URL names. Redirections are not followed.
"""

import json
import logging
import re
import resource
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
sys.path.append(str(ROOT))

from readings.alarms.delivery.addresses import AddressRefused, check_address  # noqa: E402

sys.path.remove(str(ROOT))

MEMORY_BYTES = 1 << 30
CPU_SECONDS = 30
CONNECT_SECONDS = 5.0
READ_SECONDS = 10.0
# Services of the desktop or of this machine. They have no receiver anywhere else.
LOCAL_SERVICES = frozenset(("dbus", "glib", "gnome", "kde", "macosx", "qt", "syslog", "windows"))
# Under one of these folders a plugin may read: Python's own, the certificates, and what names are resolved with.
READABLE = tuple(
    str(Path(folder).resolve()) + "/"
    for folder in {sys.prefix, sys.base_prefix, sys.exec_prefix, "/etc/ssl", "/etc/pki", "/usr/share", "/usr/lib"}
)
FORBIDDEN_EVENTS = ("os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.system", "subprocess.Popen", "pty.spawn")
STATUS = re.compile(r"error=(\d{3})\b")


class Guard:
    """The audit hook. `refusal`: why it refused something, of the last time it did."""

    def __init__(self, *, private: bool) -> None:
        self.private = private
        self.refusal = ""

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
            self.check_socket(arguments[1])
        elif event == "open":
            self.check_file(arguments[0], arguments[1])
        elif event.startswith(FORBIDDEN_EVENTS):
            self.refuse("Starting programs is not allowed.")

    def check_socket(self, address: Any) -> None:
        if address is None:  # of a socket that is connected
            return
        if not isinstance(address, tuple):
            self.refuse("Only network addresses are allowed.")
        try:
            check_address(str(address[0]), private=self.private)
        except AddressRefused as error:
            self.refuse(str(error))

    def check_file(self, path: Any, mode: str | None) -> None:
        if isinstance(path, int):
            return
        name = str(Path(path if isinstance(path, str) else bytes(path).decode(errors="replace")).resolve())
        reads = mode is None or not set(mode) & set("wax+")
        if not (reads and name.startswith(READABLE)) and name not in ("/dev/urandom", "/dev/null"):
            self.refuse("Reading files of this server is not allowed.", keep=not name.startswith(("/etc/", "/proc/")))

    def refuse(self, why: str, *, keep: bool = True) -> None:
        if keep:
            self.refusal = why
        raise PermissionError(why)


def main() -> None:
    task = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    json.dump(carry_out(task), sys.stdout)


def carry_out(task: dict[str, Any]) -> dict[str, Any]:
    """`known`: Apprise can read the URL. `service`: its name. `away`: it gave no answer."""
    import apprise
    import requests

    requests.Session.get_redirect_target = lambda *_: None  # type: ignore[method-assign]
    guard = Guard(private=task["private"])
    sys.addaudithook(guard)
    result = {"known": False, "service": "", "sent": False, "error": "", "away": False}
    if str(task["url"]).partition(":")[0].strip().lower() in LOCAL_SERVICES:
        return result
    plugin = apprise.Apprise.instantiate(task["url"])
    if plugin is None:
        return result | {"error": guard.refusal}
    result |= {"known": True, "service": str(plugin.service_name or "")}
    if task["title"] is None:
        return result
    plugin.socket_connect_timeout = CONNECT_SECONDS
    plugin.socket_read_timeout = READ_SECONDS
    with apprise.LogCapture(level=logging.INFO, fmt="%(message)s") as log:  # type: ignore[no-untyped-call]
        result["sent"] = bool(plugin.notify(body=task["body"], title=task["title"], notify_type=task["type"]))
        said = log.getvalue()
    if not result["sent"]:
        # Only the status of the log is used, because its lines may contain the URL with its tokens.
        status = STATUS.search(said)
        result["away"] = not status and not guard.refusal
        answered = f"The service answered with status {status[1]}." if status else ""
        result["error"] = guard.refusal or answered or "The service could not be reached, or refused the message."
    return result


if __name__ == "__main__":
    main()
