// The heat map: patterns in time as colours, with a layer over them.

const ORANGE = [213, 94, 0], BLUE = [0, 114, 178];
// Of patterns that are kept, on light and on dark ground (Okabe and Ito).
const KEPT_COLOURS = {
  light: ["#0072b2", "#007a59", "#a8527f", "#8a5a00", "#5c5c5c"], dark: ["#56b4e9", "#2fc79a", "#e69f00", "#e0a0c4", "#f0e442"],
};
const keptColour = (k, dark) => KEPT_COLOURS[dark ? "dark" : "light"][k % 5];
const MAX_COLUMNS = 2048;

// The pattern t as intensities.
function intensities(data, t) {
  const {low, step, code} = data.intensity, count = data.axis.length, values = new Float64Array(count);
  for (let c = 0; c < count; c++) {
    const root = low + step * code[t * count + c];
    values[c] = root * Math.abs(root);
  }
  return values;
}

// A map t of a layer, NaN where it has no value.
function mapRow(data, layer, t) {
  const codes = data.layers[layer], count = data.axis.length;
  return Float64Array.from({length: count}, (_, c) => {
    const code = codes[t * count + c];
    return code === NO_VALUE ? NaN : code / (NO_VALUE - 1);
  });
}

// Statistics of a view that its colours and its limits need, once per view.
function viewStatistics(data, view) {
  const count = data.axis.length, {low, step, code} = data.intensity, sums = new Float64Array(count);
  const highest = new Float64Array(count).fill(-Infinity), lowest = new Float64Array(count).fill(Infinity);
  for (const t of view.rows) {
    for (let c = 0; c < count; c++) {
      const root = low + step * code[t * count + c], value = root * Math.abs(root);
      sums[c] += value;
      if (value > highest[c]) highest[c] = value;
      if (value < lowest[c]) lowest[c] = value;
    }
  }
  const mean = sums.map((sum) => sum / view.rows.length), sorted = Float64Array.from(mean).sort();
  const floor = Math.max(sorted[count >> 4] / 4, highest.reduce((a, b) => Math.max(a, b)) * 1e-5, 1e-12);
  return {mean, highest, lowest, floor};
}

// Evenly spaced columns of the image in the chosen unit -> channel.
function columnsOf(positions) {
  const count = Math.min(MAX_COLUMNS, 2 * positions.length), first = positions[0], last = positions.at(-1);
  const low = Math.min(first, last), high = Math.max(first, last);
  const rising = first < last ? positions : Float64Array.from(positions).reverse();
  const isEven = rising.every((p, c) => Math.abs(p - low - c * (high - low) / (rising.length - 1)) < (high - low) / rising.length / 4);
  const size = isEven ? positions.length : count;
  const channel = new Int32Array(size);
  for (let k = 0; k < size; k++) {
    const place = nearest(rising, low + k * (high - low) / (size - 1));
    channel[k] = first < last ? place : positions.length - 1 - place;
  }
  const half = (high - low) / (size - 1) / 2;
  return {channel, low: low - half, high: high + half};
}

const pixel = (r, g, b, alpha = 255) => ((alpha << 24) | (b << 16) | (g << 8) | r) >>> 0;

// Code of an intensity -> colour, for the codes that occur.
function baseColours(data, state, statistics) {
  const {low, step, code} = data.intensity, steps = code.BYTES_PER_ELEMENT === 1 ? 256 : 65536;
  const top = scaled(statistics.highest.reduce((a, b) => Math.max(a, b)), state.scale, statistics.floor);
  const bottom = scaled(statistics.lowest.reduce((a, b) => Math.min(a, b)), state.scale, statistics.floor);
  const isGrey = state.layer !== "none", colours = new Uint32Array(steps);
  for (let k = 0; k < steps; k++) {
    const root = low + step * k, share = (scaled(root * Math.abs(root), state.scale, statistics.floor) - bottom) / (top - bottom || 1);
    const level = Math.max(0, Math.min(255, Math.round(255 * share)));
    const grey = state.dark ? level : 255 - level;
    colours[k] = isGrey ? pixel(grey, grey, grey) : data.palette[level];
  }
  return colours;
}

// Difference to the mean: blue below, orange above, in roots, whose noise is even.
function differenceImage(data, view, columns, statistics, dark) {
  const count = data.axis.length, {low, step, code} = data.intensity, rows = view.grid.length, width = columns.channel.length;
  const root = statistics.mean.map((value) => Math.sign(value) * Math.sqrt(Math.abs(value))), image = new Uint32Array(rows * width);
  let largest = 1e-12;
  for (const t of view.rows) for (let c = 0; c < count; c++) largest = Math.max(largest, Math.abs(low + step * code[t * count + c] - root[c]));
  const middle = dark ? 17 : 255;
  for (let r = 0; r < rows; r++) {
    if (view.grid[r] < 0) continue;
    const begin = view.rows[view.grid[r]] * count;
    for (let k = 0; k < width; k++) {
      const c = columns.channel[k], share = Math.max(-1, Math.min(1, (low + step * code[begin + c] - root[c]) / largest));
      const [red, green, blue] = share < 0 ? BLUE : ORANGE, weight = Math.sqrt(Math.abs(share));
      image[r * width + k] = pixel(...[red, green, blue].map((x) => Math.round(middle + weight * (x - middle))));
    }
  }
  return image;
}

// The image [rows, columns] of a view as RGBA, first pattern first.
function heatImage(data, view, columns, state, statistics) {
  if (state.layer === "difference") return differenceImage(data, view, columns, statistics, state.dark);
  const count = data.axis.length, rows = view.grid.length, width = columns.channel.length, image = new Uint32Array(rows * width);
  const colours = baseColours(data, state, statistics), code = data.intensity.code, map = data.layers[state.layer];
  for (let r = 0; r < rows; r++) {
    if (view.grid[r] < 0) continue;
    const begin = view.rows[view.grid[r]] * count;
    for (let k = 0; k < width; k++) {
      const index = begin + columns.channel[k];
      let colour = colours[code[index]];
      if (map !== undefined && map[index] !== NO_VALUE) {
        const share = map[index] / (NO_VALUE - 1) * 0.85, grey = colour & 255;
        colour = pixel(...ORANGE.map((x) => Math.round(grey + share * (x - grey))));
      }
      image[r * width + k] = colour;
    }
  }
  return image;
}
