// The vertical scale of a chart: its range around the values, and the ticks in it.
//
// uPlot's own ticks do not end where a range is so narrow that adding a step changes nothing (uPlot issue 1084), and
// there are none for very small or very large values. So the range is never narrower than doubles can divide, and the
// ticks are counted, not added up.

const NARROWEST = 1e-10; // of the values' size; what is narrower is drawn as a flat line
const SMALLEST = 1e-290; // ten decimal orders above the smallest double with full precision
const LARGEST = 7e307; // so that the length of the range is finite
const MARGIN = 0.1; // of the range, above and below the values
const FLAT_MARGIN = 0.02; // of the value, above and below a flat line

const INTERVALS = 5; // at most
const STEPS = [[1, 0], [2, 0], [2.5, -1], [5, 0], [10, 1]]; // of a power of ten, and the place of their last digit

const bounded = (value) => Math.min(Math.max(value, -LARGEST), LARGEST);
const sizeOf = (low, high) => Math.max(Math.abs(low), Math.abs(high));

// Whether these values are drawn as a flat line, because they differ by rounding errors only.
export function isFlat(low, high) {
  return high - low <= Math.max(sizeOf(low, high) * NARROWEST, SMALLEST);
}

// [bottom, top] of a chart of values from `low` to `high`, both null if there is none.
export function valueRange(low, high) {
  if (low === null || high === null) return [0, 1];
  [low, high] = [bounded(low), bounded(high)];
  const size = sizeOf(low, high);
  const upToHalf = size < SMALLEST ? 0.5 : Math.min(size, 0.5);
  const margin = isFlat(low, high) ? Math.max(size * FLAT_MARGIN, upToHalf) : (high - low) * MARGIN;
  return [low - margin, high + margin];
}

// The step between ticks, and `place`: the power of ten of the last digit of its multiples.
export function stepOf(low, high) {
  const least = (high - low) / INTERVALS;
  const power = Math.floor(Math.log10(least));
  const [factor, place] = STEPS.find(([one]) => Number(`${one}e${power}`) >= least) ?? STEPS.at(-1);
  return { size: Number(`${factor}e${power}`), place: power + place };
}

// The multiples of the step from `low` to `high`: one more than INTERVALS at most.
export function ticks(low, high) {
  const { size } = stepOf(low, high);
  const first = Math.ceil(low / size);
  const count = Math.floor(high / size) - first + 1;
  // To 15 digits, because 3 * 0.1 is 0.30000000000000004.
  return Array.from({ length: count }, (_, n) => Number(((first + n) * size).toPrecision(15)) || 0);
}
