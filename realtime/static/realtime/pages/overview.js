// The overview stays current: it is loaded again every few seconds, and what has changed is replaced.

import { Outage } from "../outage.js";
import { showAll as showTimes } from "../times.js";

const AGAIN_MS = 10_000;
const LATE_MS = 15_000; // a server that takes longer counts as away

const overview = document.getElementById("overview");
const outage = new Outage({ connection: document.getElementById("connection"), banner: document.getElementById("notice"), page: overview });
let loadedAt = Date.now();
let askedAt = loadedAt;
let before = null; // as the server sent it; the page itself changes, because its times move
let loading = false;
outage.state("live", "", loadedAt);

async function load() {
  loading = true;
  askedAt = Date.now();
  try {
    const response = await fetch(location.href, { headers: { Accept: "text/html" }, signal: AbortSignal.timeout(LATE_MS) });
    if (!response.ok) throw new Error(`The server answers with status ${response.status}.`);
    if (response.redirected) return location.reload(); // signed out
    const text = await response.text();
    const found = new DOMParser().parseFromString(text, "text/html").getElementById("overview");
    loadedAt = Date.now();
    outage.state("live", "", loadedAt);
    if (!found) return location.reload();
    if (found.innerHTML !== before) replace(found);
    before = found.innerHTML;
  } catch (error) {
    outage.state("disconnected", error instanceof TypeError || error.name === "TimeoutError" ? "" : error.message, loadedAt);
  } finally {
    loading = false;
  }
}

// Keeps the focus and the place in the list of offline devices.
function replace(found) {
  const focused = overview.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  const scrolled = overview.querySelector(".offline")?.scrollTop ?? 0;
  overview.replaceChildren(...document.importNode(found, true).childNodes);
  const list = overview.querySelector(".offline");
  if (list) list.scrollTop = scrolled;
  if (focused) [...overview.querySelectorAll("a")].find((link) => link.getAttribute("href") === focused)?.focus({ preventScroll: true });
  showTimes();
}

setInterval(() => {
  outage.check();
  if (!document.hidden && !loading && Date.now() - askedAt >= AGAIN_MS) load();
}, 1000);
document.addEventListener("visibilitychange", () => document.hidden || loading || load());
