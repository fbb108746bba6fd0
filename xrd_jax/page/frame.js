// What the panels show of one pattern and of one target.

const find = (name) => page.model.get_model_by_name(name);
const fill = (name, columns) => { find(name).data = columns; };
const axes = (figure, where) => find(figure)[where][0];

function drawHeat() {
  const {data, view, columns, state, statistics} = page;
  const image = heatImage(data, view, columns, state, statistics), rows = view.grid.length, half = page.halfStep;
  const last = view.position.at(-1), first = view.position[0];
  fill("heat_image", {
    image: [page.ndarray(image, [rows, columns.channel.length])], x: [columns.low], y: [first - half],
    dw: [columns.high - columns.low], dh: [last - first + 2 * half],
  });
  drawLegend();
}

function drawTarget() {
  const {data, view, state} = page, target = data.targets[state.target];
  if (!target) return prepareChance();
  const pick = (values) => values ? Array.from(view.rows, (t) => values[t]) : [];
  const y = Array.from(view.position), [measured, predicted, low, high] = ["measured", "predicted", "low", "high"].map((name) => pick(target[name]));
  const line = {x: [], y: []}, band = {xs: [], ys: []};
  for (const [begin, end] of stretches(y)) {
    for (let k = begin; k < end; k++) {
      if (target.classes.length && k > begin && measured[k] !== measured[k - 1]) push(line, NaN, NaN);  // nothing is between classes
      push(line, measured[k], y[k]);
    }
    push(line, NaN, NaN);
    const stated = y.map((_, k) => k).slice(begin, end).filter((k) => Number.isFinite(low[k]) && Number.isFinite(high[k]));
    const back = stated.toReversed();
    if (stated.length) band.xs.push([...stated.map((k) => low[k]), ...back.map((k) => high[k])]);
    if (stated.length) band.ys.push([...stated.map((k) => y[k]), ...back.map((k) => y[k])]);
  }
  fill("measured", line);
  fill("band", band);
  const held = data.roleNames.indexOf("held out");
  fill("predicted", {x: predicted, y, colour: Array.from(view.rows, (t) => held < 0 || data.roles[t] === held ? "#d55e00" : "#999999")});
  const values = [...measured, ...predicted, ...low, ...high].filter(Number.isFinite);
  const least = values.reduce((a, b) => Math.min(a, b), Infinity), most = values.reduce((a, b) => Math.max(a, b), -Infinity);
  const margin = 0.04 * (most - least || 1), count = target.classes.length, axis = axes("side", "below");
  find("side").x_range.setv(count ? {start: -0.5, end: count - 0.5} : {start: least - margin, end: most + margin});
  setClasses(axis, target.classes);
  axis.setv({axis_label: plain(captionOf(target)), major_label_orientation: count ? 0.9 : "horizontal"});
  prepareChance();
}

function push(line, x, y) {
  line.x.push(x);
  line.y.push(y);
}

const captionOf = (target) => target.name + (target.unit ? ` (${target.unit})` : "");

// Pairs [begin, end) of patterns without a pause between them.
function stretches(y) {
  const starts = y.map((_, k) => k).filter((k) => k === 0 || y[k] - y[k - 1] > 5 * page.usualHalf);
  return starts.map((begin, k) => [begin, starts[k + 1] ?? y.length]);
}

// Names instead of numbers on an axis of classes; its own ticks again where there are none.
function setClasses(axis, classes) {
  const [numbers, fixed] = axis.tags, cut = (text) => text.length > 22 ? text.slice(0, 21) + "…" : text;
  fixed.ticks = classes.map((_, k) => k);
  axis.setv({
    ticker: classes.length ? fixed : numbers,
    major_label_overrides: new Map(classes.map((name, k) => [k, plain(cut(name))])),
  });
}

// Axes and truth of the probabilities: once per target, because axes that change are laid out anew.
function prepareChance() {
  const {data, state} = page, target = data.targets[state.target], figure = find("chance"), below = axes("chance", "below");
  const chances = target?.probabilities, isClass = target?.classes.length > 0;
  page.binCount = chances ? chances.length / data.names.length : 0;
  setClasses(axes("chance", "left"), target?.classes ?? []);
  for (const name of ["bars", "chance_truth", "class_truth"]) fill(name, {left: [], right: [], bottom: [], top: [], x: [], y: []});
  axes("chance", "left").axis_label = isClass ? " " : "Probability per bin";
  below.axis_label = isClass ? "Probability" : chances ? plain(captionOf(target)) : "no distribution of this target";
  const highest = chances ? chances.reduce((a, b) => Math.max(a, b)) / (NO_VALUE - 1) : 1, [low, high] = target?.span ?? [0, 1];
  figure.x_range.setv(isClass ? {start: 0, end: 1.02} : {start: low, end: high});
  figure.y_range.setv(isClass ? {start: page.binCount - 0.5, end: -0.5} : {start: 0, end: 1.08 * highest});
}

function drawChance(t) {
  const {data, state, binCount} = page, target = data.targets[state.target];
  if (!binCount) return;
  const shares = Array.from({length: binCount}, (_, k) => target.probabilities[t * binCount + k] / (NO_VALUE - 1));
  const truth = Number.isFinite(target.measured[t]) ? [target.measured[t]] : [];
  if (target.classes.length) {
    fill("bars", {left: shares.map(() => 0), right: shares, bottom: shares.map((_, k) => k - 0.38), top: shares.map((_, k) => k + 0.38)});
    fill("class_truth", {y: truth});
  } else {
    const [low, high] = target.span, width = (high - low) / binCount;
    fill("bars", {left: shares.map((_, k) => low + k * width), right: shares.map((_, k) => low + (k + 1) * width), bottom: shares.map(() => 0), top: shares});
    fill("chance_truth", {x: truth});
  }
}

// Limits of the pattern panel: what the view holds between the ends of the axis that are seen.
function patternLimits() {
  const {positions, statistics, state} = page, {start, end} = find("pattern").x_range;
  let low = Infinity, high = -Infinity;
  positions.forEach((x, c) => {
    if (x < Math.min(start, end) || x > Math.max(start, end)) return;
    low = Math.min(low, statistics.lowest[c]);
    high = Math.max(high, statistics.highest[c]);
  });
  if (!(high > low)) return;
  const bottom = scaled(low, state.scale, statistics.floor), top = scaled(high, state.scale, statistics.floor);
  find("pattern").y_range.setv({start: bottom - 0.02 * (top - bottom), end: top + 0.12 * (top - bottom)});
  find("pattern_ticks").ticks = scaleTicks(bottom, top, state.scale, statistics.floor);
}

function drawPattern(t) {
  const {data, state, positions, statistics} = page, scale = (value) => scaled(value, state.scale, statistics.floor);
  fill("line", {x: positions, y: intensities(data, t).map(scale)});
  const map = data.layers[state.layer] ? mapRow(data, state.layer, t) : [];
  fill("shade", {x: map.length ? positions : [], y: map});
}

function drawKept() {
  const {data, state, positions, statistics, view} = page, kept = state.kept, ys = kept.map((t) => Array.from(intensities(data, t), (value) => scaled(value, state.scale, statistics.floor)));
  const colour = kept.map((_, k) => keptColour(k, state.dark));
  fill("kept_lines", {xs: kept.map(() => Array.from(positions)), ys, colour});
  const seen = kept.map((t, k) => [view.placeOf.get(t), colour[k]]).filter(([place]) => place !== undefined);
  const marks = {y: seen.map(([place]) => view.position[place]), colour: seen.map(([, c]) => c)};
  fill("heat_kept", marks);
  fill("side_kept", marks);
  listKept();
}

// Labels that would cover one another stand at different heights.
function drawReflections() {
  const {state} = page, {start, end} = find("x_range"), apart = Math.abs(end - start) / 60, right = [-Infinity, -Infinity, -Infinity];
  const marks = page.reflections.filter((mark) => Number.isFinite(mark.at[state.unit])).sort((a, b) => a.at[state.unit] - b.at[state.unit]);
  const heights = marks.map((mark) => {
    const x = mark.at[state.unit], free = right.findIndex((last) => x - last > apart), level = free < 0 ? 2 : free;
    right[level] = x;
    return 206 - 62 * level;
  });
  fill("reflections", {x: marks.map((mark) => mark.at[state.unit]), y: heights, text: marks.map((mark) => plain(mark.name))});
}

function listKept() {
  const {data, state} = page;
  at("kept").replaceChildren(...state.kept.map((t, k) => {
    const item = document.createElement("li");
    item.textContent = data.names[t];
    item.style.borderColor = keptColour(k, state.dark);
    return item;
  }));
}

// What the colours of the heat map mean.
function drawLegend() {
  const {data, state, statistics} = page;
  const ends = state.layer === "difference" ? ["below the mean", "above"] : [statistics.lowest, statistics.highest].map((values, k) => short(values.reduce((a, b) => k ? Math.max(a, b) : Math.min(a, b))));
  const ramp = state.layer === "difference" ? ["#0072b2", "transparent", "#d55e00"] : state.layer === "none" ? data.paletteText.filter((_, k) => k % 15 === 0) : ["#ffffff", "#000000"];
  at("ramp").style.background = `linear-gradient(to right, ${(state.layer !== "none" && state.dark ? ramp.toReversed() : ramp).join(", ")})`;
  at("ramp-low").textContent = ends[0];
  at("ramp-high").textContent = ends[1] + (state.layer === "difference" ? "" : ` ${data.intensityLabel.toLowerCase()}`) + (data.layers[state.layer] ? `; orange: ${state.layer}` : "");
}
