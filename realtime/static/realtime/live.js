// Follows logs over the live socket: every reading once and in order, also after a lost connection.
//
//   const stop = watch("mote-1", { after: 0, onReadings(readings, lastSeenAt) {…}, onStatus(status) {…},
//     onSeen(lastSeenAt) {…}, onState(state, detail, heardAt) {…} });
//   const stop = watchFleet({ onReadings(deviceId, readings, lastSeenAt) {…}, onStatus(deviceId, status) {…},
//     onSeen(deviceId, lastSeenAt) {…}, onState(state, detail, heardAt) {…} });
//   const stop = watchAlarms({ onAlarms(alarms, open) {…}, onAlarm(event, alarm, open) {…}, onState(state, detail, heardAt) {…} });
//
// `after` is the seq of the last reading that the caller has, in the log with the UUID `log` (without `log`: in the current log).
// Without `after` only new readings are delivered; for the fleet that is always so. A device that was erased and registered
// again has another log, which is delivered from its first reading.
// Statuses: "online", "late", "offline", "never"; delivered when first known and after each change.
// `lastSeenAt` is the time at which the server last received something from the device; `onSeen` gets it when first known
// and after each change (null: never), `onReadings` only with readings that the device has just sent (null: others).
// States: "connecting", "catching up", "live", "disconnected" (will reconnect), "refused" (for good; detail says why).
// All three take `onAlarms` and `onAlarm`. `onAlarms` gets the open alarms, the newest 100 at most, and how many are open;
// first, after each reconnection, and when a change was missed. It replaces what was known. `onAlarm` gets each change:
// "opened", "resolved" or "acknowledged", the alarm as the API returns it, and how many are open after it.
// `heardAt` is the time of the server's last frame in milliseconds; null before the first one.
// `base` is the server's origin. On a page of another origin, `ticket` returns a promise of a ticket for each connection.
// The protocol: docs/live.md.

import { connect } from "./connection.js";

// With the longest device ids and their logs this is 48,000 characters; the server accepts 65,536.
const POSITIONS_PER_MESSAGE = 250;

export function watch(deviceId, { after = null, log: id = null, onReadings, onStatus, onSeen, onAlarms, onAlarm, onState, base, ticket }) {
  const log = { id, position: after, target: 0, status: null, seen: undefined };
  return connect({
    base,
    ticket,
    onState,
    path: `subscribe/${encodeURIComponent(deviceId)}`,
    query: () => (log.position === null ? {} : log.id ? { after: log.position, log: log.id } : { after: log.position }),
    onFrame(frame, connection) {
      if (tellAlarms(frame, onAlarms, onAlarm)) return;
      if (frame.type === "subscribed") {
        log.target = frame.last_seq;
        follow(log, frame.log);
        // Also if the log is shorter than our position, for example after a restored backup.
        log.position = Math.min(log.position ?? log.target, log.target);
      }
      tell(frame, log, onStatus, onSeen);
      take(frame, log, connection, onReadings);
      connection.say(log.position < log.target ? "catching up" : "live");
    },
  });
}

export function watchFleet({ onReadings, onStatus, onSeen, onAlarms, onAlarm, onState, base, ticket }) {
  const logs = new Map();
  let complete = false; // whether the server has named every log of the fleet
  let behind = new Set();

  const known = () => [...logs].filter(([, log]) => log.position !== null);

  function resume(connection) {
    const all = known();
    const others = complete ? "all" : "now";
    for (let first = 0; first === 0 || first < all.length; first += POSITIONS_PER_MESSAGE) {
      const until = first + POSITIONS_PER_MESSAGE;
      const part = all.slice(first, until);
      const positions = Object.fromEntries(part.map(([id, log]) => [id, log.position]));
      const ids = Object.fromEntries(part.filter(([, log]) => log.id).map(([id, log]) => [id, log.id]));
      connection.send({ type: "resume", positions, logs: ids, more: until < all.length, others });
    }
  }

  function list(frame) {
    for (const device of frame.devices) {
      const { device_id: id, last_seq: target, log: logId } = device;
      const log = logOf(id);
      follow(log, logId);
      log.target = Math.max(target, 0);
      // Until the list of logs is complete, start at a log's end. After that an unknown log is new: start at its first reading.
      log.position = Math.min(log.position ?? (complete ? 0 : target), target);
      if (log.position < log.target) behind.add(id);
      tellOf(id, device, log);
    }
    if (!frame.more) complete = true;
    return !frame.more;
  }

  function logOf(id) {
    if (!logs.has(id)) logs.set(id, { id: null, position: null, target: 0, status: null, seen: undefined });
    return logs.get(id);
  }

  function tellOf(id, source, log) {
    tell(source, log, (status) => onStatus?.(id, status), (lastSeenAt) => onSeen?.(id, lastSeenAt));
  }

  return connect({
    base,
    ticket,
    onState,
    path: "subscribe",
    query: () => (known().length || complete ? { resume: true } : {}),
    onFrame(frame, connection) {
      if (tellAlarms(frame, onAlarms, onAlarm)) return;
      if (frame.type === "subscribed") {
        behind = new Set();
        connection.listed = false;
        if (connection.query.resume) resume(connection);
        return; // the server sends this frame before it reads the database, so the connection may not work yet
      } else if (frame.type === "positions") {
        connection.listed = list(frame);
      } else if (frame.device_id) {
        const id = frame.device_id;
        const log = logOf(id);
        if (log.position === null && frame.type === "readings") log.position = frame.readings[0].seq - 1;
        tellOf(id, frame, log);
        take(frame, log, connection, (readings, lastSeenAt) => onReadings?.(id, readings, lastSeenAt));
        if (log.position >= log.target) behind.delete(id);
      }
      connection.say(connection.listed && !behind.size ? "live" : "catching up");
    },
  });
}

export function watchAlarms({ onAlarms, onAlarm, onState, base, ticket }) {
  return connect({
    base,
    ticket,
    onState,
    path: "subscribe",
    query: () => ({ only: "alarms" }),
    onFrame(frame, connection) {
      if (tellAlarms(frame, onAlarms, onAlarm)) connection.say("live");
    },
  });
}

// Passes on a frame about alarms. Returns whether it is one.
function tellAlarms({ type, event, alarm, alarms, open }, onAlarms, onAlarm) {
  if (type === "alarms") onAlarms?.(alarms, open);
  else if (type === "alarm") onAlarm?.(event, alarm, open);
  return type === "alarms" || type === "alarm";
}

// Sets the log that the following frames belong to. If it is another log than before, it starts at its first reading.
function follow(log, id) {
  if (log.id && id && log.id !== id && log.position !== null) log.position = 0;
  log.id = id ?? log.id;
}

// Passes on the status and the time of receipt in a frame, or in a part of one, if they have changed.
function tell({ status, last_seen_at: seen }, log, onStatus, onSeen) {
  if (status && status !== log.status) onStatus?.((log.status = status));
  if (seen !== undefined && seen !== log.seen) onSeen?.((log.seen = seen));
}

// Applies a frame to one log: { id, position, target, status, seen }.
function take(frame, log, connection, onReadings) {
  if (frame.type === "readings") {
    const fresh = frame.readings.filter((reading) => reading.seq > log.position);
    if (!fresh.length) return;
    if (fresh[0].seq !== log.position + 1) {
      connection.again(); // a hole: the server reads it from the log after reconnecting
      return;
    }
    log.position = fresh.at(-1).seq;
    onReadings?.(fresh, frame.last_seen_at ?? null);
  } else if (frame.type === "deleted") {
    // Readings deleted by retention are not a hole; the log continues after them.
    if (frame.first_seq <= log.position + 1) log.position = Math.max(log.position, frame.last_seq);
  }
}
