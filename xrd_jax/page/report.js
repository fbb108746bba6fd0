// The page comes to life: state, mouse, keys, address, downloads.

const page = {data: null, model: null, state: null};
const at = (id) => document.getElementById(id);

function start(data, model) {
  Object.assign(page, {data, model});
  const image = find("heat_image").data.image[0];
  page.ndarray = (values, shape) => new image.constructor(values, shape);
  const units = availableUnits(data.kind, data.wavelength);
  page.state = {
    view: 0, target: 0, unit: data.kind, scale: "sqrt", layer: "none", frame: 0, kept: [], snap: false,
    dark: matchMedia("(prefers-color-scheme: dark)").matches,
  };
  page.reflections = data.reflections.map(([name, position]) => ({
    name, at: Object.fromEntries(units.map((unit) => [unit, convert(position, data.kind, unit, data.wavelength)])),
  }));
  setOptions("view", data.views.map((view, k) => [k, view.name]));
  setOptions("target", data.targets.map((target, k) => [k, target.name]));
  setOptions("unit", units.map((unit) => [unit, UNITS[unit]?.label ?? data.axisLabel]));
  setOptions("layer", [["none", "none"], ["difference", "difference to the mean"], ...Object.keys(data.layers).map((name) => [name, name])]);
  readFragment(units);
  listen();
  setTheme();
  setView(page.state.frame);
  zoomFromFragment();
  at("interactive").setAttribute("data-ready", "");
}

function setOptions(id, pairs) {
  at(id).replaceChildren(...pairs.map(([value, text]) => new Option(text, value)));
  at(id).closest("label").hidden = pairs.length < 2;
}

function setView(frame) {
  const {data, state} = page, view = data.views[state.view];
  view.placeOf ??= new Map(Array.from(view.rows, (t, place) => [t, place]));
  view.statistics ??= viewStatistics(data, view);
  const steps = Array.from(view.position).map((p, k) => p - view.position[k - 1]).slice(1).filter((s) => s > 0).sort((a, b) => a - b);
  page.usualHalf = (steps[Math.floor(0.9 * (steps.length - 1))] ?? 1) / 2;
  page.halfStep = view.grid.length > 1 ? (view.position.at(-1) - view.position[0]) / (view.grid.length - 1) / 2 : 0.5;
  Object.assign(page, {view, statistics: view.statistics});
  axes("heat", "left").axis_label = plain(view.label);
  find("y_range").setv({start: view.position[0] - page.halfStep, end: view.position.at(-1) + page.halfStep});
  at("slider").max = view.rows.length - 1;
  setUnit();
  drawTarget();
  show(view.placeOf.has(frame) ? frame : view.rows[0]);
}

function setUnit() {
  const {data, state} = page;
  page.positions = data.axis.map((position) => convert(position, data.kind, state.unit, data.wavelength));
  page.columns = columnsOf(page.positions);
  const ends = [page.positions[0], page.positions.at(-1)].sort((a, b) => a - b);
  find("x_range").setv({start: ends[0], end: ends[1], reset_start: ends[0], reset_end: ends[1]});
  const label = UNITS[state.unit]?.label ?? data.axisLabel;
  for (const name of ["heat", "pattern"]) axes(name, "below").axis_label = label;
  redraw();
}

function redraw() {
  drawHeat();
  ranges();
  axes("pattern", "left").axis_label = `${page.data.intensityLabel}${{linear: "", sqrt: ", √ scale", log: ", log scale"}[page.state.scale]}`;
  drawKept();
  show(page.state.frame);
}

// Show a pattern in all panels; `x` is where on the axis the mouse is, if it is on it.
function show(t, x = null) {
  const {data, view, state} = page, place = view.placeOf.get(t);
  if (place === undefined) return;
  state.frame = t;
  const channel = x === null ? page.channel ?? 0 : nearestChannel(x);
  page.channel = channel;
  at("slider").value = place;
  for (const name of ["heat_width", "side_width"]) find(name).location = view.position[place];
  for (const name of ["heat_height", "pattern_height"]) find(name).location = x;
  drawPattern(t);
  drawChance(t);
  at("readout").replaceChildren(...readout(t, place, channel).map(([name, text]) => {
    const item = document.createElement("span"), strong = document.createElement("b");
    strong.textContent = text;
    item.dataset.name = name;
    item.append(`${name} `, strong);
    return item;
  }));
  at("keep").textContent = state.kept.includes(t) ? "Remove this pattern" : "Keep this pattern";
  writeFragment();
}

function nearestChannel(x) {
  const rising = page.positions.at(-1) > page.positions[0];
  page.risingOf ??= new WeakMap();
  if (!page.risingOf.has(page.positions)) page.risingOf.set(page.positions, rising ? page.positions : page.positions.slice().reverse());
  const place = nearest(page.risingOf.get(page.positions), x);
  return rising ? place : page.positions.length - 1 - place;
}

function readout(t, place, channel) {
  const {data, view, state} = page, position = data.axis[channel], items = [["Pattern", data.names[t]]];
  items.push([view.label, short(view.position[place])]);
  const role = data.roleNames[data.roles[t]];
  if (role) items.push(["Role", role]);
  const units = availableUnits(data.kind, data.wavelength);
  items.push(["Axis", units.map((unit) => withUnit(convert(position, data.kind, unit, data.wavelength), unit)).join(" · ")]);
  items.push([data.intensityLabel, short(intensities(data, t)[channel])]);
  if (data.layers[state.layer]) items.push([state.layer, short(mapRow(data, state.layer, t)[channel])]);
  const mark = nearestReflection(page.positions[channel]);
  if (mark) {
    const d = mark.at.d === undefined ? "" : `, d = ${mark.at.d.toFixed(4)} Å`;
    items.push(["Nearest reflection", `${mark.name}${d}, ${short(Math.abs(page.positions[channel] - mark.at[state.unit]))} away`]);
  }
  for (const [name, values] of Object.entries(data.measures)) if (!Number.isNaN(values[t])) items.push([name, short(values[t])]);
  for (const target of data.targets) items.push([target.name, targetText(target, t)]);
  return items;
}

function targetText(target, t) {
  const text = (value) => target.classes.length ? target.classes[value] ?? "–" : short(value) + (target.unit ? ` ${target.unit}` : "");
  const parts = [`predicted ${text(target.predicted[t])}`];
  if (target.low && Number.isFinite(target.low[t])) parts[0] += ` [${short(target.low[t])}, ${short(target.high[t])}]`;
  if (Number.isFinite(target.measured[t])) parts.push(`measured ${text(target.measured[t])}`);
  return parts.join(", ");
}

function nearestReflection(x) {
  const distance = (mark) => Math.abs(mark.at[page.state.unit] - x), known = page.reflections.filter((mark) => Number.isFinite(distance(mark)));
  return known.length ? known.reduce((a, b) => distance(b) < distance(a) ? b : a) : null;
}

// Follow the mouse: browsers tell of it once a frame of the screen, and the library draws once for all changes.
function move(figure, x, y) {
  const t = figure === "pattern" ? page.state.frame : page.view.rows[nearest(page.view.position, y)];
  const mark = page.state.snap && figure !== "side" ? nearestReflection(x) : null;
  show(t, figure === "side" ? null : mark ? mark.at[page.state.unit] : x);
}

function keep(t = page.state.frame) {
  const {kept} = page.state;
  page.state.kept = kept.includes(t) ? kept.filter((other) => other !== t) : [...kept, t];
  drawKept();
  show(page.state.frame);
}

function step(by) {
  const {rows, placeOf} = page.view, place = placeOf.get(page.state.frame) + by;
  show(rows[Math.max(0, Math.min(rows.length - 1, place))]);
}

function ranges() {
  patternLimits();
  drawReflections();
  writeFragment();
}

window.xrdReport = {
  page, move, keep, show, ranges, leave: () => {}, format: (tick) => page.state ? short(unscaled(tick, page.state.scale)) : "",
};
