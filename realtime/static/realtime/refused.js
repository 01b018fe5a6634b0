// Keeps the list of a device's refused posts current. The server renders it; this loads it every few seconds.

import { clock } from "./outage.js";

const EVERY_MS = 5000;

// Calls `onChange(html)` when the list has changed. A note before the list says if it could not be loaded again.
export function keepFresh(box, onChange = () => {}) {
  let shown = box.innerHTML;
  let loadedAt = Date.now();
  const note = document.createElement("p");
  note.className = "muted";
  note.hidden = true;
  box.before(note);

  function loaded(html) {
    loadedAt = Date.now();
    note.hidden = true;
    if (html === shown) return;
    box.innerHTML = shown = html;
    onChange(html);
  }

  setInterval(async () => {
    if (document.hidden) return;
    const response = await fetch(box.dataset.address).catch(() => null);
    if (response?.ok) return loaded(await response.text());
    note.hidden = box.hidden;
    note.textContent = `The list could not be loaded again. It is as of ${clock(loadedAt)}.`;
  }, EVERY_MS);
}
