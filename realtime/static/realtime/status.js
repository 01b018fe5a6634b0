// A device's status from the time since its last reading; the same rule as in devices/status.py.

const LATE_AFTER_INTERVALS = 2;
const OFFLINE_AFTER_INTERVALS = 5;

export const STATUSES = ["online", "late", "offline", "never"];

// `seen` and `now` in milliseconds (`seen` null: never); `interval` in seconds.
export function statusOf(seen, interval, now = Date.now()) {
  if (seen === null) return "never";
  const silent = (now - seen) / 1000 / interval;
  if (silent >= OFFLINE_AFTER_INTERVALS) return "offline";
  return silent >= LATE_AFTER_INTERVALS ? "late" : "online";
}

export function showStatus(element, status) {
  if (element.dataset.status === status) return;
  element.dataset.status = status;
  element.textContent = status;
}

export function showConnection(element, state) {
  element.dataset.state = state;
  element.textContent = state;
}
