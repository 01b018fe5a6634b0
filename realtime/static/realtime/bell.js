// The bell in the bar: how many alarms are open. Only accounts that may see alarms have one.

const EVERY_MS = 30_000;

const bell = document.getElementById("bell");

export function showOpen(open) {
  if (!bell || bell.dataset.open === String(open)) return;
  bell.dataset.open = String(open);
  const count = bell.querySelector(".bar-bell-count");
  count.hidden = open === 0;
  count.childNodes[1].data = open.toLocaleString("en");
}

// Asks the server how many are open. For pages whose socket does not tell it.
export async function askOpen() {
  if (!bell || document.hidden) return;
  const response = await fetch("/alarms/-/open?devices=false").catch(() => null);
  if (response?.ok) showOpen((await response.json()).open);
}

export function keepAsking() {
  if (bell) setInterval(askOpen, EVERY_MS);
}
