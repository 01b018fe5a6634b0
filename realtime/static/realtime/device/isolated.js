// Values with gaps on both sides, through which no line goes.

const missing = (value) => value === null || value === undefined;

// The indexes of the lone values of a column, in which gaps are null.
export function loneIndexes(values) {
  return [...values.keys()].filter((n) => !missing(values[n]) && missing(values[n - 1]) && missing(values[n + 1]));
}
