// Tabs that follow the ARIA pattern: arrow keys move, and only the chosen tab is in the tab order. The choice is remembered.

const REMEMBERED = "telemetry.tab";

export function tabs(root) {
  const all = [...root.querySelectorAll('[role="tab"]')];
  const panel = (tab) => document.getElementById(tab.getAttribute("aria-controls"));

  function choose(tab) {
    for (const other of all) {
      other.setAttribute("aria-selected", String(other === tab));
      other.tabIndex = other === tab ? 0 : -1;
      panel(other).hidden = other !== tab;
    }
    try {
      localStorage.setItem(REMEMBERED, tab.id);
    } catch {
      // The browser may forbid storage. Then the page starts with the first tab.
    }
  }

  for (const tab of all) tab.addEventListener("click", () => choose(tab));
  root.querySelector('[role="tablist"]').addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = all[(all.indexOf(document.activeElement) + step + all.length) % all.length];
    choose(next);
    next.focus();
  });
  let remembered = null;
  try {
    remembered = localStorage.getItem(REMEMBERED);
  } catch {
    // as above
  }
  choose(all.find((tab) => tab.id === remembered) ?? all[0]);
}
