// Keeps the list of a device's refused posts current. The server renders it; this loads it every few seconds.

const EVERY_MS = 5000;

// Calls `onChange(html)` when the list has changed.
export function keepFresh(box, onChange = () => {}) {
  let shown = box.innerHTML;
  setInterval(async () => {
    if (document.hidden) return;
    try {
      const response = await fetch(box.dataset.address);
      if (!response.ok) return;
      const html = await response.text();
      if (html === shown) return;
      box.innerHTML = shown = html;
      onChange(html);
    } catch {
      // Offline. The connection's state on the page shows that.
    }
  }, EVERY_MS);
}
