// Data of the page: unpacking, units of the axis, scales of intensity. Nothing here touches the document.

const TYPES = {uint8: Uint8Array, uint16: Uint16Array, int32: Int32Array, float32: Float32Array, float64: Float64Array};
const NO_VALUE = 255;

async function unpack(packed) {
  const bytes = Uint8Array.from(atob(packed.data), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new TYPES[packed.type](await new Response(stream).arrayBuffer());
}

// Every record {type, shape, data} inside nested JSON becomes its typed array, with `shape` kept on it.
async function unpackAll(value) {
  if (value === null || typeof value !== "object") return value;
  if (typeof value.data === "string" && value.type in TYPES) {
    return Object.assign(await unpack(value), {shape: value.shape});
  }
  const entries = await Promise.all(Object.entries(value).map(async ([key, part]) => [key, await unpackAll(part)]));
  return Array.isArray(value) ? entries.map(([, part]) => part) : Object.fromEntries(entries);
}

// Positions of the measured axis in 2θ (degrees), q (1/Å) or d (Å).
const UNITS = {
  two_theta: {label: "2θ (°)", name: "2θ", suffix: "°", digits: 3},
  q: {label: "q (Å⁻¹)", name: "q", suffix: " Å⁻¹", digits: 4},
  d: {label: "d (Å)", name: "d", suffix: " Å", digits: 4},
};

function toSpacing(value, kind, wavelength) {
  if (kind === "d") return value;
  if (kind === "q") return 2 * Math.PI / value;
  return wavelength / (2 * Math.sin(value * Math.PI / 360));
}

function fromSpacing(d, kind, wavelength) {
  if (kind === "d") return d;
  if (kind === "q") return 2 * Math.PI / d;
  return 360 / Math.PI * Math.asin(wavelength / (2 * d));
}

// Kinds that the axis can be shown in: without a wavelength no way leads from or to 2θ.
function availableUnits(kind, wavelength) {
  if (!(kind in UNITS)) return [kind];
  return Object.keys(UNITS).filter((unit) => unit === kind || wavelength || (unit !== "two_theta" && kind !== "two_theta"));
}

function convert(value, from, to, wavelength) {
  return from === to ? value : fromSpacing(toSpacing(value, from, wavelength), to, wavelength);
}

function withUnit(value, unit) {
  const known = UNITS[unit];
  return known ? `${known.name} ${value.toFixed(known.digits)}${known.suffix}` : Number(value.toPrecision(6)).toString();
}

// Scales of intensity; logarithms begin at `floor`, because nothing has the logarithm of zero.
function scaled(value, scale, floor) {
  if (scale === "sqrt") return Math.sign(value) * Math.sqrt(Math.abs(value));
  if (scale === "log") return Math.log10(Math.max(value, floor));
  return value;
}

function unscaled(value, scale) {
  if (scale === "sqrt") return value * Math.abs(value);
  return scale === "log" ? 10 ** value : value;
}

// Round numbers for the ticks of a scaled axis, as positions on it.
function scaleTicks(low, high, scale, floor) {
  const ends = [unscaled(low, scale), unscaled(high, scale)];
  const values = [];
  if (scale === "log") {
    const mantissas = high - low < 3 ? [1, 2, 5] : [1];
    for (let power = Math.floor(low) - 1; power <= Math.ceil(high); power++) {
      for (const mantissa of mantissas) values.push(mantissa * 10 ** power);
    }
  } else {
    const step = niceStep((ends[1] - ends[0]) / 5);
    for (let v = Math.ceil(ends[0] / step) * step; v <= ends[1]; v += step) values.push(Math.abs(v) < step / 2 ? 0 : v);
    if (scale === "sqrt") values.push(step / 4, step / 16);
  }
  return values.filter((v) => v >= ends[0] && v <= ends[1]).map((v) => scaled(v, scale, floor));
}

function niceStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough || 1));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
}

function nearest(sorted, value) {
  let low = 0, high = sorted.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (sorted[middle] <= value) low = middle; else high = middle;
  }
  return Math.abs(sorted[high] - value) < Math.abs(sorted[low] - value) ? high : low;
}

const short = (value) => Number.isFinite(value) ? Number(value.toPrecision(5)).toString() : "–";
// What looks like mathematics to the plotting library would be typeset by it.
const plain = (text) => text.replaceAll("$$", "$\u200b$").replaceAll("\\(", "\\\u200b(").replaceAll("\\[", "\\\u200b[");
