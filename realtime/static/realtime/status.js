// The statuses of devices. The server computes them (devices/status.py), so that every page and answer agrees.

import { utc } from "./format.js";

export const STATUSES = ["online", "late", "offline", "never"];

// `since`: the moment from which on the status is unknown, because the connection to the server is lost; null: it is known.
export function showStatus(element, status, since = null) {
  const text = since !== null && ["online", "late", "offline"].includes(status) ? `was ${status}` : status;
  if (element.dataset.status === status && element.textContent === text) return;
  element.dataset.status = status;
  element.textContent = text;
  element.title = text === status ? "" : `As of ${utc(since)}`;
}
