// The form with which a reader types or chooses the two ends of a period, in the reader's time zone.

// The value of <input type="datetime-local"> for a moment in seconds.
export function localValue(moment) {
  const date = new Date(moment * 1000);
  return new Date(date - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

// The moment in seconds, or null.
export function momentOf(value) {
  const moment = Date.parse(value); // without a zone, it is the reader's
  return value && !Number.isNaN(moment) ? moment / 1000 : null;
}

// Why this is no period, or an empty text.
export function fault(start, end, now = Date.now() / 1000) {
  if (start === null || end === null) return "Give both times.";
  if (start >= end) return "The end must be after the start.";
  return start >= now ? "The period begins in the future." : "";
}

// `root`: <details> with a form of the fields `start` and `end`, and an output for faults. `period.bounds()` fills them.
export function between(root, period) {
  const form = root.querySelector("form");
  const [start, end] = [form.elements.start, form.elements.end];
  const output = form.querySelector("[role=alert]");
  root.addEventListener("toggle", () => {
    if (!root.open) return;
    const bounds = period.bounds();
    start.value = localValue(bounds.start);
    end.value = localValue(bounds.end);
    output.textContent = "";
    start.focus();
  });
  root.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    root.open = false;
    root.querySelector("summary").focus();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const [from, until] = [momentOf(start.value), momentOf(end.value)];
    output.textContent = fault(from, until);
    if (output.textContent) return;
    root.open = false;
    root.querySelector("summary").focus();
    period.pick(from, until);
  });
}
