// What a chart shows of alarms: bands where one was open, and lines at the thresholds of rules.

const COLORS = { info: "--info", warning: "--waiting", critical: "--bad" };
const LEAST_WIDTH = 3; // of a band, in CSS pixels
const NEAR = 1; // a line is near the values if it is at most so many times their span away

const colorOf = (severity) => getComputedStyle(document.documentElement).getPropertyValue(COLORS[severity] ?? COLORS.warning).trim();

// [low, high] of the values, extended to the lines near them; to all lines with `far`. Both null if there is nothing.
export function reach(low, high, lines, far = false) {
  const values = lines.map(({ value }) => value);
  if (low === null || high === null) return far && values.length ? [Math.min(...values), Math.max(...values)] : [low, high];
  const span = high - low || Math.abs(high) * 0.1 || 1;
  const near = far ? values : values.filter((value) => value >= low - NEAR * span && value <= high + NEAR * span);
  return [Math.min(low, ...near), Math.max(high, ...near)];
}

export function drawBands({ ctx, bbox, scales, valToPos }, bands) {
  const { min, max } = scales.x;
  for (const { start, end, severity } of bands) {
    const last = Math.min(end ?? max, max);
    if (last < min || start > max) continue;
    const left = valToPos(Math.max(start, min), "x", true);
    const width = Math.max(valToPos(last, "x", true) - left, LEAST_WIDTH * devicePixelRatio);
    ctx.fillStyle = `${colorOf(severity)}26`;
    ctx.fillRect(left, bbox.top, width, bbox.height);
  }
}

export function drawLines({ ctx, bbox, scales, valToPos }, lines) {
  const { min, max } = scales.y;
  for (const { value, severity } of lines) {
    if (value < min || value > max) continue;
    const y = valToPos(value, "y", true);
    ctx.save();
    ctx.beginPath();
    ctx.strokeStyle = colorOf(severity);
    ctx.lineWidth = 1.25 * devicePixelRatio;
    ctx.setLineDash([6 * devicePixelRatio, 4 * devicePixelRatio]);
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    ctx.restore();
  }
}

// The bands of a chart: alarms about its metric, and of silences of any metric.
export function bandsOf(alarms, metric) {
  return alarms
    .filter((alarm) => alarm.metric === null || alarm.metric === metric)
    .map(({ began_at: began, resolved_at: resolved, severity, rule }) => ({
      start: Date.parse(began) / 1000, end: resolved === null ? null : Date.parse(resolved) / 1000, severity: severity ?? rule?.severity,
    }));
}

// The lines of a chart: the bounds of the thresholds of its metric.
export function linesOf(rules, metric) {
  return rules
    .filter((rule) => rule.kind === "threshold" && rule.metric === metric)
    .flatMap(({ above, below, severity }) => [above, below].filter((value) => value !== null && value !== undefined).map((value) => ({ value, severity })));
}
