// Every <time data-ago datetime="…"> shows how long ago that was, and the exact UTC time in its tooltip.

import { ago, utc } from "./format.js";

const EVERY_MS = 1000;

export function setTime(element, moment) {
  element.dataset.ago = "";
  element.dateTime = new Date(moment).toISOString();
  element.title = utc(moment);
  show(element);
}

// Shows a moment that does not move with the clock, as `text`.
export function fixTime(element, moment, text) {
  delete element.dataset.ago;
  element.dateTime = new Date(moment).toISOString();
  element.title = utc(moment);
  if (element.textContent !== text) element.textContent = text;
}

function show(element) {
  const moment = Date.parse(element.dateTime);
  if (Number.isNaN(moment)) return;
  const text = ago(moment);
  if (element.textContent !== text) element.textContent = text;
  if (!element.title) element.title = utc(moment);
}

export const showAll = () => document.querySelectorAll("time[data-ago]").forEach(show);

showAll();
setInterval(showAll, EVERY_MS);
