// A form that mutes a rule, a device or a tag until a time: its alarms are recorded, and nothing is sent.

import { localMoment } from "../format.js";
import { ask } from "./requests.js";
import { make } from "../elements.js";

const TIMES = [["1 hour", "+1h"], ["8 hours", "+8h"], ["1 day", "+1d"], ["7 days", "+7d"], ["30 days", "+30d"], ["a time …", ""]];

// Between two requests for mutes, because others mute and unmute too.
export const AGAIN_MS = 15_000;

export const ruleMute = (id) => `/api/v1/alarm-rules/${id}/mute`;
export const tagMute = (name) => `/api/v1/tags/${encodeURIComponent(name)}/mute`;
export const deviceMute = (id) => `/api/v1/devices/${encodeURIComponent(id)}/mute`;

// Whether an account may mute what has this address of the API. `limit`: the names of the tags that the account is limited to, which
// alone it may mute, beside devices; null: no limit.
export function mutableWithin(limit) {
  if (!limit) return () => true;
  const own = new Set(limit.map(tagMute));
  return (address) => own.has(address) || address.startsWith(deviceMute("").replace("/mute", ""));
}

// "muted until 9 May, 14:00"; empty if that has passed, or null.
export function mutedText(until, now = Date.now()) {
  return until && Date.parse(until) > now ? `muted until ${localMoment(Date.parse(until))}` : "";
}

// `targets`: [[label, address of the API]]. `onDone(address, until)` is called after muting, `onClose()` at the end in any case.
export function muteForm({ targets, onDone, onClose }) {
  const form = make("form", "alarm-form");
  const what = select("What to mute", targets);
  const time = select("For how long", TIMES);
  const until = make("input", "field");
  until.type = "datetime-local";
  until.setAttribute("aria-label", "Until");
  until.hidden = true;
  const send = make("button", "action small primary");
  send.textContent = "Mute";
  const cancel = make("button", "action small");
  cancel.type = "button";
  cancel.textContent = "Cancel";
  const failure = make("p", "alarm-failure");
  failure.setAttribute("role", "alert");
  const only = make("span");
  only.textContent = `Mute ${targets[0][0]} for`;
  form.append(targets.length > 1 ? what : only, time, until, send, cancel, failure);
  const close = () => {
    form.remove();
    onClose?.();
  };
  time.addEventListener("change", () => (until.hidden = time.value !== ""));
  cancel.addEventListener("click", close);
  form.addEventListener("keydown", (event) => event.key === "Escape" && close());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (time.value === "" && !until.value) return until.focus();
    send.disabled = true;
    try {
      const body = { until: time.value || new Date(until.value).toISOString() };
      const answer = await ask("PUT", what.value, { body });
      onDone(what.value, answer.muted_until);
      close();
    } catch (error) {
      failure.textContent = `Not muted: ${error.fields?.[0]?.[1] ?? error.message}`;
      send.disabled = false;
    }
  });
  return form;
}

function select(label, options) {
  const box = make("select", "field");
  box.setAttribute("aria-label", label);
  for (const [text, value] of options) box.add(new Option(text, value));
  return box;
}
