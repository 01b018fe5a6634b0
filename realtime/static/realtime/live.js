// Follows logs over the live socket: every reading, in order, once; after a lost connection too.
//
//   const stop = watch("mote-1", { after: 0, onReadings(readings) {…}, onStatus(status) {…}, onState(state, detail) {…} });
//   const stop = watchFleet({ onReadings(deviceId, readings) {…}, onStatus(deviceId, status) {…}, onState(state, detail) {…} });
//
// Of one device `after` is the seq of the last reading the caller has, of the log that `log` names (if it does); without it
// only what comes from now on is given, as of the fleet always. A device that was erased and registered again has another
// log, which is given from its first reading. A status is given when it is first known and when it has changed: "online", "late", "offline", "never".
// States: "connecting", "catching up", "live", "offline" (trying again), "refused" (for good; detail says why).
// `base` is the server's origin; from a page of another origin `ticket` gives a promise of a ticket for each connection.
// The protocol: docs/live.md.

import { connect } from "./connection.js";

// With the longest device ids and their logs 48,000 characters; a server takes 65,536.
const POSITIONS_PER_MESSAGE = 250;

export function watch(deviceId, { after = null, log: id = null, onReadings, onStatus, onState, base, ticket }) {
  const log = { id, position: after, target: 0, status: null };
  return connect({
    base,
    ticket,
    onState,
    path: `subscribe/${encodeURIComponent(deviceId)}`,
    query: () => (log.position === null ? {} : log.id ? { after: log.position, log: log.id } : { after: log.position }),
    onFrame(frame, connection) {
      if (frame.type === "subscribed") {
        log.target = frame.last_seq;
        follow(log, frame.log);
        // Also where the log is shorter than what we have, as after a restored backup: then that is the truth.
        log.position = Math.min(log.position ?? log.target, log.target);
      }
      take(frame, log, connection, onReadings, onStatus);
      connection.say(log.position < log.target ? "catching up" : "live");
    },
  });
}

export function watchFleet({ onReadings, onStatus, onState, base, ticket }) {
  const logs = new Map();
  let complete = false; // whether every log of the fleet has been heard of
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
    for (const { device_id: id, last_seq: target, status, log: logId } of frame.devices) {
      const log = logOf(id);
      follow(log, logId);
      log.target = Math.max(target, 0);
      // A log that is new to us since we know the fleet comes whole; before, we begin where it ends.
      log.position = Math.min(log.position ?? (complete ? 0 : target), target);
      if (log.position < log.target) behind.add(id);
      if (status !== log.status) onStatus?.(id, (log.status = status));
    }
    if (!frame.more) complete = true;
    return !frame.more;
  }

  function logOf(id) {
    if (!logs.has(id)) logs.set(id, { id: null, position: null, target: 0, status: null });
    return logs.get(id);
  }

  return connect({
    base,
    ticket,
    onState,
    path: "subscribe",
    query: () => (known().length || complete ? { resume: true } : {}),
    onFrame(frame, connection) {
      if (frame.type === "subscribed") {
        behind = new Set();
        connection.listed = false;
        if (connection.query.resume) resume(connection);
      } else if (frame.type === "positions") {
        connection.listed = list(frame);
      } else if (frame.device_id) {
        const id = frame.device_id;
        const log = logOf(id);
        if (log.position === null && frame.type === "readings") log.position = frame.readings[0].seq - 1;
        take(frame, log, connection, (readings) => onReadings?.(id, readings), (status) => onStatus?.(id, status));
        if (log.position >= log.target) behind.delete(id);
      }
      connection.say(connection.listed && !behind.size ? "live" : "catching up");
    },
  });
}

// The log of which the server speaks from now on; another one than before is new, whatever its length.
function follow(log, id) {
  if (log.id && id && log.id !== id && log.position !== null) log.position = 0;
  log.id = id ?? log.id;
}

// What a frame says of one log: { id, position, target, status }.
function take(frame, log, connection, onReadings, onStatus) {
  if (frame.type === "readings") {
    const fresh = frame.readings.filter((reading) => reading.seq > log.position);
    if (!fresh.length) return;
    if (fresh[0].seq !== log.position + 1) {
      connection.again(); // a hole, which must not be: connecting again reads it from the log
      return;
    }
    log.position = fresh.at(-1).seq;
    onReadings?.(fresh);
  } else if (frame.type === "deleted") {
    // What retention has deleted is no hole; the log goes on behind it.
    if (frame.first_seq <= log.position + 1) log.position = Math.max(log.position, frame.last_seq);
  } else if ((frame.type === "status" || frame.type === "subscribed") && frame.status !== log.status) {
    log.status = frame.status;
    onStatus?.(frame.status);
  }
}
