// Asks for previews while somebody types: after a pause, and one at a time, because a preview costs the server much.

const PAUSE_MS = 400;

export class Previewing {
  // `ask(rule)` returns a promise. `onAnswer(rule, answer, error)`; both null while a request is under way.
  constructor(ask, onAnswer, pause = PAUSE_MS) {
    Object.assign(this, { ask, onAnswer, pause });
    this.wanted = null;
    this.running = false;
    this.shown = "";
  }

  // Null: there is nothing to preview.
  want(rule) {
    clearTimeout(this.timer);
    const text = JSON.stringify(rule);
    this.wanted = null;
    if (rule === null || text === this.shown) return;
    this.wanted = rule;
    this.timer = setTimeout(() => this.run(), this.pause);
  }

  // Asks again for the same rule the next time.
  forget() {
    this.shown = "";
  }

  async run() {
    if (this.running || this.wanted === null) return;
    this.running = true;
    const rule = this.wanted;
    this.wanted = null;
    this.shown = JSON.stringify(rule);
    this.onAnswer(rule, null, null);
    try {
      const answer = await this.ask(rule);
      if (this.wanted === null) this.onAnswer(rule, answer, null);
    } catch (error) {
      this.shown = "";
      if (this.wanted === null) this.onAnswer(rule, null, error);
    }
    this.running = false;
    this.run();
  }
}

// { alarms, devices, open, byDevice: [[device id, alarms]] with most alarms first }.
export function summary({ alarms, devices }) {
  const found = new Map();
  for (const alarm of alarms) found.set(alarm.device_id, [...(found.get(alarm.device_id) ?? []), alarm]);
  const byDevice = [...found].sort(([a, some], [b, others]) => others.length - some.length || (a < b ? -1 : 1));
  return { alarms: alarms.length, devices, open: alarms.filter(({ resolved_at: at }) => at === null).length, byDevice };
}
