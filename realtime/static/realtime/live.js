// Follows one device's log over the live socket: every reading, in order, once; after a lost connection too.
//
//   const stop = watch("mote-1", { after: 0, onReadings(readings) {…}, onState(state, detail) {…} });
//
// `after` is the seq of the last reading the caller has; without it only what comes from now on is given.
// States: "connecting", "catching up", "live", "offline" (trying again), "refused" (for good; detail says why).

const RETRY_MS = [500, 30_000];
const PING_MS = 10_000;
const FINAL_CODES = new Set([4400, 4401, 4403, 4404]);

export function watch(deviceId, { after = null, onReadings, onState = () => {}, base = location.origin }) {
  let position = after;
  let attempts = 0;
  let stopped = false;
  let socket = null;
  let retry = null;

  function connect() {
    onState("connecting");
    const address = new URL(`/api/v1/realtime/subscribe/${encodeURIComponent(deviceId)}`, base);
    address.protocol = address.protocol.replace("http", "ws");
    if (position !== null) address.searchParams.set("after", position);
    const current = (socket = new WebSocket(address));
    let pinged = 0;
    let heard = 0;
    let target = 0;
    let lastError = null;

    const heartbeat = setInterval(() => {
      // A connection that died without a word, as when the network is pulled, looks open for minutes. Judged by the
      // last ping, not by the time: in a hidden tab this runs once a minute.
      if (pinged > heard) return lost({});
      pinged = Date.now();
      if (current.readyState === WebSocket.OPEN) current.send('{"type":"ping"}');
    }, PING_MS);

    const announce = () => onState(position < target ? "catching up" : "live");

    function lost({ code }) {
      clearInterval(heartbeat);
      if (socket !== current) return;
      socket = null;
      current.close();
      if (stopped) return;
      if (FINAL_CODES.has(code)) {
        stopped = true;
        onState("refused", lastError?.detail);
        return;
      }
      const ceiling = Math.min(RETRY_MS[0] * 2 ** attempts++, RETRY_MS[1]);
      retry = setTimeout(connect, ceiling * (0.5 + Math.random() / 2));
      onState("offline", lastError?.detail);
    }

    current.onclose = lost;
    current.onmessage = ({ data }) => {
      if (socket !== current) return;
      heard = Date.now();
      const frame = JSON.parse(data);
      if (frame.type === "subscribed") {
        attempts = 0;
        target = frame.last_seq;
        // Also where the log is shorter than what we have, as after a restored backup: then that is the truth.
        position = position === null ? target : Math.min(position, target);
        announce();
      } else if (frame.type === "readings") {
        const fresh = frame.readings.filter((reading) => reading.seq > position);
        if (!fresh.length) return;
        if (fresh[0].seq !== position + 1) {
          lost({}); // a hole: connecting again reads it from the log
          return;
        }
        position = fresh.at(-1).seq;
        onReadings(fresh);
        announce();
      } else if (frame.type === "error") {
        lastError = frame;
      }
    };
  }

  const reconnect = () => {
    if (stopped || socket) return;
    clearTimeout(retry);
    attempts = 0;
    connect();
  };
  addEventListener("online", reconnect);
  connect();

  return function stop() {
    stopped = true;
    removeEventListener("online", reconnect);
    clearTimeout(retry);
    socket?.close();
  };
}
