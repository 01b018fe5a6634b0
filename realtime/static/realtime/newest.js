// Which reading is the newest: by its own time, then by seq. The same rule as in devices/states.py.

// The server's FUTURE_TOLERANCE (devices/status.py).
const FUTURE_TOLERANCE_MS = 5 * 60_000;

// Negative if `a` is older than `b`. Both have `timestamp` and `seq`.
export function byTime(a, b) {
  // Without their "Z", times sort as texts, with and without a fraction. A Date would drop the microseconds.
  const [at, than] = [a.timestamp.slice(0, -1), b.timestamp.slice(0, -1)];
  return at === than ? a.seq - b.seq : at < than ? -1 : 1;
}

// Whether `reading` replaces the one that is shown now (null: none). `lastSeenAt` is the time of receipt if the device has
// just sent the reading. A shown time that lies later than that comes from a wrong clock.
export function replaces(reading, shown, lastSeenAt = null) {
  if (shown === null || byTime(reading, shown) >= 0) return true;
  return lastSeenAt !== null && Date.parse(shown.timestamp) >= Date.parse(lastSeenAt) + FUTURE_TOLERANCE_MS;
}
