// The refused posts of a device, kept fresh: the server renders them, this asks now and then.

const EVERY_MS = 5000;

// `onChange(html)` is told of what is new.
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
      // Offline; the connection's own word says so.
    }
  }, EVERY_MS);
}
