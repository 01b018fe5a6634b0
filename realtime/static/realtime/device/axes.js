// The labels of a chart's axes.

import { withExponent } from "../format.js";
import { stepOf } from "../scale.js";

const EXPONENT_FROM = 1e15;
const EXPONENT_BELOW = 1e-6;
const COMPACT_FROM = 1e6;
const COMPACT_DIGITS = 4;
const DAY = 86_400;
const TIME = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };

// All labels of an axis from `low` to `high` have the same number of decimals, enough to tell them apart.
export function valueLabels(values, low, high) {
  const { place } = stepOf(low, high);
  const decimals = Math.max(0, -place);
  const size = Math.max(...values.map(Math.abs));
  const digits = Math.floor(Math.log10(size)) - place; // after the first
  if (size >= EXPONENT_FROM || (size < EXPONENT_BELOW && size > 0)) {
    return values.map((value) => (value === 0 ? "0" : withExponent(value, digits)));
  }
  const form = size >= COMPACT_FROM && digits < COMPACT_DIGITS
    ? { notation: "compact", maximumSignificantDigits: COMPACT_DIGITS }
    : { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
  return values.map((value) => value.toLocaleString("en", form));
}

// `step`: seconds between two labels. In steps of hours, midnight is labelled with the day that begins.
export function momentLabels(moments, step) {
  return moments.map((moment) => {
    const date = new Date(moment * 1000);
    return date.toLocaleString("en-GB", formOf(date, step));
  });
}

function formOf(date, step) {
  if (step >= 365 * DAY) return { year: "numeric" };
  if (step >= 28 * DAY) return { month: "short", year: "numeric" };
  const isMidnight = date.getHours() === 0 && date.getMinutes() === 0 && date.getSeconds() === 0;
  if (step >= DAY || (step >= 3600 && isMidnight)) return { day: "numeric", month: "short" };
  return step >= 60 ? TIME : { ...TIME, second: "2-digit" };
}

let canvas = null;

// The width in CSS pixels of the widest label. A canvas of its own, because uPlot remembers the font of its canvas.
export function widest(labels, font) {
  canvas ??= document.createElement("canvas").getContext("2d");
  canvas.font = font;
  return Math.max(0, ...labels.map((label) => canvas.measureText(label).width));
}
