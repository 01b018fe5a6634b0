// A clock that stands still until a test moves it.

export function stopClock(context) {
  const { setTimeout: later, clearTimeout: forget } = globalThis;
  const now = Date.now;
  let time = 1_000_000;
  let waiting = [];
  globalThis.setTimeout = (work, ms = 0) => {
    const timer = { work, at: time + ms };
    waiting.push(timer);
    return timer;
  };
  globalThis.clearTimeout = (timer) => (waiting = waiting.filter((other) => other !== timer));
  Date.now = () => time;
  context.after(() => {
    Object.assign(globalThis, { setTimeout: later, clearTimeout: forget });
    Date.now = now;
  });
  return {
    tick(ms) {
      time += ms;
      const due = waiting.filter(({ at }) => at <= time);
      waiting = waiting.filter(({ at }) => at > time);
      for (const { work } of due) work();
    },
  };
}

// Lets the promises go on that wait for nothing.
export async function settle() {
  for (let n = 0; n < 10; n++) await Promise.resolve();
}
