// Doubles for property tests: special ones, and pseudo-random ones of every size, the same in every run.

const SPECIAL = [
  0, -0, 5e-324, 2.2250738585072014e-308, 1e-300, 1e-17, 1e-6, 0.1, 0.30000000000000004, 1, 1.0000000000000002, 21.5, 1024.3999999999999, 1024.4,
  1e5, 1e6, 12_345_678, 1e15, 2 ** 53 - 1, 2 ** 53, 1e21, 5e31, 1e32, 1e300, 1e308, Number.MAX_VALUE,
];

export function* random(seed = 1) {
  while (true) {
    // mulberry32
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    yield ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }
}

// `count` finite doubles: SPECIAL ones, whole numbers, values as sensors have them, and any pattern of 64 bits.
export function doubles(count) {
  const part = random();
  const next = () => part.next().value;
  const bits = new DataView(new ArrayBuffer(8));
  const kinds = [
    () => SPECIAL[Math.floor(next() * SPECIAL.length)],
    () => Math.round(next() * 10 ** Math.floor(next() * 16)),
    () => Math.round(next() * 1e6) / 10 ** Math.floor(next() * 8),
    () => {
      bits.setUint32(0, next() * 2 ** 32);
      bits.setUint32(4, next() * 2 ** 32);
      return bits.getFloat64(0);
    },
  ];
  const found = [];
  while (found.length < count) {
    const value = kinds[found.length % kinds.length]() * (next() < 0.3 ? -1 : 1);
    if (Number.isFinite(value)) found.push(value);
  }
  return found;
}

// The next larger double.
export function above(value) {
  const bits = new DataView(new ArrayBuffer(8));
  bits.setFloat64(0, value || 0);
  bits.setBigInt64(0, bits.getBigInt64(0) + (value >= 0 ? 1n : -1n));
  const next = bits.getFloat64(0);
  return value < 0 && next === 0 ? 0 : next;
}

// Pairs [low, high] with low <= high: equal values, neighbours, values that are close to each other, and any two.
export function ranges(count) {
  const values = doubles(count + 1);
  const part = random(2);
  return values.slice(1).map((value, n) => {
    const near = value * (1 + 10 ** (-16 * part.next().value));
    const other = [value, above(value), Number.isFinite(near) ? near : value, values[n]][n % 4];
    return [Math.min(value, other), Math.max(value, other)];
  });
}
