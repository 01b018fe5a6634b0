// In the place of a browser's WebSocket: `sockets` are those that were opened, in order.

export const sockets = [];
// What the code asked to wait before it connects again, in milliseconds; here it waits a hundredth of that.
export const pauses = [];

const OPEN_MS = 15_000; // what a server may take to accept, which is not shortened
const later = globalThis.setTimeout;
globalThis.setTimeout = (callback, ms) => {
  if (ms >= OPEN_MS) return later(callback, ms);
  pauses.push(ms);
  return later(callback, ms / 100);
};

class FakeSocket {
  static OPEN = 1;

  constructor(address) {
    this.address = address;
    this.sent = [];
    this.readyState = FakeSocket.OPEN;
    sockets.push(this);
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close(code = 1000) {
    if (this.readyState !== FakeSocket.OPEN) return;
    this.readyState = 3;
    this.onclose({ code });
  }

  // What the server sends.
  says(...frames) {
    for (const frame of frames) this.onmessage({ data: JSON.stringify(frame) });
  }
}

globalThis.WebSocket = FakeSocket;
globalThis.location = { origin: "https://telemetry.example.org" };
globalThis.addEventListener ??= () => {};
globalThis.removeEventListener ??= () => {};

export const moment = () => new Promise((resolve) => later(resolve, 5));

// The socket that is open; a lost connection is opened again after a pause.
export async function reconnected(before) {
  while (sockets.length === before) await moment();
  return sockets.at(-1);
}

export const reading = (seq) => ({ seq, temperature: 20 });
export const parameters = (socket) => Object.fromEntries(socket.address.searchParams);
