// A live socket that reconnects after a growing, random pause, until the server refuses it for good.

const RETRY_MS = [500, 30_000];
const PING_MS = 10_000;
// The time that a server has to accept the socket and send its first frame.
const OPEN_MS = 15_000;
const FINAL_CODES = new Set([4400, 4401, 4403, 4404]);

// `path` is below /api/v1/realtime/. `query()` returns the parameters of each new connection. `onFrame(frame, connection)` gets
// every frame except pongs and errors, and may call `connection.say(state)`, `send(message)` or `again()`.
// `onState(state, detail, heardAt)`: `heardAt` is the time of the last frame, null before the first one. Returns stop().
export function connect({ path, query, onFrame, onState = () => {}, base = location.origin, ticket }) {
  let attempts = 0;
  let stopped = false;
  let current = null;
  let retry = null;
  let said = null;
  let heardAt = null;

  function say(state, detail) {
    if (state === said && !detail) return;
    said = state;
    onState(state, detail, heardAt);
  }

  async function open() {
    const connection = (current = { query: query(), say, again: () => lost(connection, {}) });
    say("connecting");
    try {
      const address = new URL(`/api/v1/realtime/${path}`, base);
      address.protocol = address.protocol.replace("http", "ws");
      if (ticket) connection.query.ticket = await ticket();
      for (const [name, value] of Object.entries(connection.query)) address.searchParams.set(name, value);
      if (current === connection) listen(connection, new WebSocket(address));
    } catch (error) {
      lost(connection, { detail: error.message }); // no ticket, for example without a network
    }
  }

  function listen(connection, socket) {
    let pinged = 0;
    let heard = 0;
    connection.socket = socket;
    connection.send = (message) => socket.send(JSON.stringify(message));
    connection.opening = setTimeout(() => lost(connection, {}), OPEN_MS);
    connection.heartbeat = setInterval(() => {
      if (socket.readyState !== WebSocket.OPEN) return;
      // A connection that broke without a close frame, for example because a cable was pulled, looks open for minutes.
      // Compare with the last ping, not with the clock, because this runs once a minute in a hidden tab.
      if (pinged > heard) return lost(connection, {});
      pinged = Date.now();
      connection.send({ type: "ping" });
    }, PING_MS);
    socket.onclose = ({ code }) => lost(connection, { code });
    socket.onmessage = ({ data }) => {
      if (current !== connection) return;
      heard = heardAt = Date.now();
      clearTimeout(connection.opening);
      const frame = JSON.parse(data);
      if (frame.type === "error") connection.error = frame;
      else if (frame.type !== "pong") onFrame(frame, connection);
      // The connection works. Only the fleet's first frame does not show that, because the server sends it before it reads the database.
      if (frame.type !== "error" && frame.device_id !== null) attempts = 0;
    };
  }

  function lost(connection, { code, detail = connection.error?.detail }) {
    clearTimeout(connection.opening);
    clearInterval(connection.heartbeat);
    if (current !== connection) return;
    current = null;
    connection.socket?.close();
    if (stopped) return;
    if (FINAL_CODES.has(code)) {
      stop();
      say("refused", detail);
      return;
    }
    const ceiling = Math.min(RETRY_MS[0] * 2 ** attempts++, RETRY_MS[1]);
    retry = setTimeout(open, ceiling * (0.5 + Math.random() / 2));
    say("disconnected", detail);
  }

  const online = () => {
    if (stopped || current) return;
    clearTimeout(retry);
    attempts = 0;
    open();
  };

  function stop() {
    stopped = true;
    removeEventListener("online", online);
    clearTimeout(retry);
    current?.socket?.close();
  }

  addEventListener("online", online);
  open();
  return stop;
}
