// Controls around the panels: the address keeps the view, files leave, colours follow light and dark.

const CHOICES = {
  view: () => setView(page.state.frame), target: () => { drawTarget(); show(page.state.frame); }, unit: setUnit,
  scale: redraw, layer: redraw,
};

function listen() {
  for (const [id, act] of Object.entries(CHOICES)) {
    at(id).value = page.state[id];
    at(id).addEventListener("change", () => {
      page.state[id] = ["view", "target"].includes(id) ? Number(at(id).value) : at(id).value;
      act();
    });
  }
  at("snap").addEventListener("change", () => { page.state.snap = at("snap").checked; });
  at("slider").addEventListener("input", () => show(page.view.rows[Number(at("slider").value)]));
  at("keep").addEventListener("click", () => keep());
  at("csv").addEventListener("click", saveCsv);
  at("svg").addEventListener("click", saveSvg);
  at("theme").addEventListener("click", () => { page.state.dark = !page.state.dark; setTheme(); redraw(); });
  at("panels").addEventListener("keydown", onKey);
  at("panels").addEventListener("dblclick", () => { page.state.kept = []; drawKept(); show(page.state.frame); });
}

function onKey(event) {
  const steps = {ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 10, PageDown: -10, Home: -1e9, End: 1e9};
  if (event.key in steps) step(steps[event.key]);
  else if (event.key === "Enter" || event.key === " ") keep();
  else return;
  event.preventDefault();
}

// Only what differs from the first look stands in the address, so that a link is short.
function writeFragment() {
  clearTimeout(page.writing);
  page.writing = setTimeout(() => {
    const {state} = page, x = find("x_range"), y = find("y_range");
    const entries = {frame: state.frame, view: state.view, target: state.target, unit: state.unit, scale: state.scale, layer: state.layer};
    if (state.kept.length) entries.kept = state.kept.join(",");
    entries.x = [x.start, x.end].map(short).join(",");
    entries.y = [y.start, y.end].map(short).join(",");
    history.replaceState(null, "", "#" + new URLSearchParams(entries));
  }, 250);
}

function readFragment(units) {
  const asked = new URLSearchParams(location.hash.slice(1)), {data, state} = page;
  const whole = (text, count) => /^\d+$/.test(text ?? "") && Number(text) < count ? Number(text) : null;
  state.view = whole(asked.get("view"), data.views.length) ?? state.view;
  state.target = whole(asked.get("target"), data.targets.length) ?? state.target;
  state.frame = whole(asked.get("frame"), data.names.length) ?? data.views[state.view].rows[0];
  state.kept = (asked.get("kept") ?? "").split(",").map((t) => whole(t, data.names.length)).filter((t) => t !== null);
  if (units.includes(asked.get("unit"))) state.unit = asked.get("unit");
  if (["linear", "sqrt", "log"].includes(asked.get("scale"))) state.scale = asked.get("scale");
  if (asked.get("layer") === "difference" || Object.hasOwn(data.layers, asked.get("layer"))) state.layer = asked.get("layer");
  page.zoom = ["x", "y"].map((name) => (asked.get(name) ?? "").split(",").map(Number));
}

function zoomFromFragment() {
  ["x_range", "y_range"].forEach((name, k) => {
    const [start, end] = page.zoom[k];
    if (Number.isFinite(start) && Number.isFinite(end) && start !== end) find(name).setv({start, end});
  });
  ranges();
}

function save(name, type, content) {
  const link = document.createElement("a"), url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], {type}));
  Object.assign(link, {href: url, download: name}).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

// The pattern shown and those kept, within the ends of the axis that are seen.
function csvText() {
  const {data, state, positions} = page, {start, end} = find("x_range"), units = availableUnits(data.kind, data.wavelength);
  const frames = [state.frame, ...state.kept.filter((t) => t !== state.frame)], columns = frames.map((t) => intensities(data, t));
  // A cell that begins with =, +, - or @ would be a formula in a spreadsheet.
  const quoted = (text) => `"${text.replace(/^[=+\-@]/, "'$&").replaceAll('"', '""')}"`;
  const maps = data.layers[state.layer] ? frames.map((t) => mapRow(data, state.layer, t)) : [];
  const names = [...frames.map((t) => data.names[t]), ...maps.map((_, k) => `${state.layer}: ${data.names[frames[k]]}`)];
  const lines = [[...units.map((unit) => UNITS[unit]?.label ?? data.axisLabel), ...names].map(quoted).join(",")];
  positions.forEach((x, c) => {
    if (x < Math.min(start, end) || x > Math.max(start, end)) return;
    const places = units.map((unit) => convert(data.axis[c], data.kind, unit, data.wavelength));
    const numbers = [...places, ...columns.map((column) => column[c]), ...maps.map((map) => map[c])];
    lines.push(numbers.map((value) => Number.isFinite(value) ? Number(value.toPrecision(7)) : "").join(","));
  });
  return lines.join("\n") + "\n";
}

const saveCsv = () => save("patterns.csv", "text/csv", csvText());

async function saveSvg() {
  const layer = page.manager.roots[0].export("svg");
  save("panels.svg", "image/svg+xml", await layer.to_blob());
}

function setTheme() {
  const dark = page.state.dark, ink = dark ? "#e8e8e8" : "#1a1a1a", paper = dark ? "#111418" : "#ffffff";
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  for (const name of ["heat", "side", "pattern", "chance"]) {
    const figure = find(name);
    figure.setv({background_fill_color: paper, border_fill_color: paper, outline_line_color: dark ? "#666666" : "#999999"});
    for (const grid of figure.center) if (grid.type === "Grid") grid.grid_line_color = dark ? "#3a4048" : "#dddddd";
    for (const axis of [...figure.below, ...figure.left]) {
      axis.setv({
        axis_label_text_color: ink, major_label_text_color: ink, axis_line_color: ink, major_tick_line_color: ink,
        minor_tick_line_color: ink, axis_label_text_font_style: "normal", axis_label_text_font_size: "13px", major_label_text_font_size: "12px",
      });
    }
  }
  for (const name of ["pattern_line", "measured_line", "truth_line", "class_line"]) find(name).glyph.line_color = ink;
  find("reflection_labels").text_color = ink;
}

async function main() {
  const read = (id) => JSON.parse(at(id).textContent);
  at("interactive").hidden = false;
  try {
    const [data, manager] = await Promise.all([unpackAll(read("data")), Bokeh.embed.embed_item(read("plots"), "panels")]);
    data.paletteText = read("palette");
    data.palette = data.paletteText.map((colour) => pixel(...[1, 3, 5].map((k) => parseInt(colour.slice(k, k + 2), 16))));
    page.manager = manager;
    start(data, manager.roots[0].model.document);
  } catch (error) {
    at("problem").hidden = false;
    throw error;
  }
}

main();
