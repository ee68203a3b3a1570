// The interactive figure: fills the specification's placeholders (s1/plots/scaling_chart.py), draws it with Vega-Lite, and
// answers the controls. Without JavaScript, or where a library cannot run, the drawn figure of matplotlib stays.
(() => {
  const data = JSON.parse(document.getElementById("chart-data").textContent);
  const form = document.getElementById("controls");
  const chart = document.getElementById("chart");
  const said = document.getElementById("chart-said");
  const note = document.getElementById("chart-note");
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  const quiet = { level: () => quiet, error: console.error, warn: () => quiet, info: () => quiet, debug: () => quiet };
  const onPage = { ink: "var(--ink)", soft: "var(--soft)", rule: "var(--rule)", paper: null };
  let view = null;
  let drawing = Promise.resolve();

  // ------------------------------------------------------------------------------------------- what is shown

  function state() {
    const chosen = new FormData(form);
    return {
      axis: data.axes.find((axis) => axis.column === chosen.get("x")),
      scale: chosen.get("scale"),
      seeds: chosen.get("seeds") ?? "all",
      task: chosen.get("task") ?? "",
      names: chosen.has("names"),
      paper: chosen.has("paper"),
      series: data.series.length > 1 ? new Set(chosen.getAll("series")) : null,
    };
  }

  function rowsOf({ seeds, task, paper, series }) {
    const ours = (seeds === "each" ? data.seeds : data.rows).filter(
      (row) => (!task || row.task === task) && (!series || series.has(row.series)),
    );
    const published = paper ? data.paper.filter((row) => !task || !data.tasks.includes(row.task) || row.task === task) : [];
    return [...ours, ...published];
  }

  function hasPlace(row, { axis, scale }) {
    const x = row[axis.column];
    return typeof x === "number" && row.accuracy !== null && (scale !== "log" || x > 0);
  }

  // ------------------------------------------------------------------------------------------ how it is drawn

  function specification(shown, colours, isExport) {
    const values = { ...data.fields, x: shown.axis.column };
    const texts = { x_title: shown.axis.title, x_scale: shown.scale };
    const escaped = (text) => JSON.stringify(text).slice(1, -1);
    const text = JSON.stringify(data.specification)
      .replace(/\$\{field:(\w+)\}/g, (_, name) => escaped(values[name]))
      .replace(/\$\{string:(\w+)\}/g, (_, name) => escaped(texts[name]));
    const filled = { ...JSON.parse(text), data: { values: rowsOf(shown) }, config: config(colours) };
    const titles = data.series.map((series) => series.title);
    const range = data.series.map((series) => (isExport ? series.hex : `var(--${series.colour})`));
    for (const { encoding } of filled.layer) {
      Object.assign(encoding.x.axis, ticks(shown));
      if (encoding.color) Object.assign(encoding.color, { scale: { domain: titles, range } });
      if (encoding.color && (!isExport || titles.length < 2)) encoding.color.legend = null;
      if (encoding.shape) Object.assign(encoding.shape.scale, { domain: titles });
    }
    return filled;
  }

  // A logarithmic axis of less than three doublings would have linear ticks.
  function ticks(shown) {
    const places = rowsOf(shown).filter((row) => hasPlace(row, shown)).map((row) => row[shown.axis.column]);
    const [first, last] = [Math.min(...places), Math.max(...places)].map(Math.log2);
    const format = shown.axis.column.endsWith("tokens") ? "," : Math.max(...places) < 0.001 ? ".2~e" : ".3~g";
    if (shown.scale !== "log" || !places.length || last - first < 1) return { format, tickCount: 8 };
    const powers = Array.from({ length: Math.floor(last) - Math.ceil(first) + 3 }, (_, n) => 2 ** (Math.ceil(first) - 1 + n));
    return { format, values: powers };
  }

  function config({ ink, soft, rule, paper }) {
    const axis = { domainColor: soft, tickColor: soft, gridColor: rule, labelColor: ink, titleColor: ink };
    const text = { labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal" };
    return {
      background: paper,
      font: "system-ui, 'DejaVu Sans', sans-serif",
      axis: { ...axis, ...text },
      axisY: { titleAngle: 0, titleAlign: "left", titleAnchor: "start", titleY: -10, titleX: -34, ticks: false, domain: false },
      legend: { labelColor: ink, labelFontSize: 12 },
      view: { stroke: null },
    };
  }

  // Layers of the specification by what they draw: their marks are "layer_N_marks", of lines "layer_N_pathgroup".
  function layersWithMarks(shown) {
    const rows = rowsOf(shown).filter((row) => hasPlace(row, shown));
    const ours = rows.filter((row) => row.published === "no");
    const points = [
      [3, ours.some((row) => row.valid === "yes")],
      [4, ours.some((row) => row.valid !== "yes")],
      [6, ours.length < rows.length],
    ];
    return { points: points.filter(([, some]) => some).map(([layer]) => `layer_${layer}_marks`), hasLine: points[0][1] };
  }

  // Vega-Lite has no marks that avoid each other, so names are added to what it compiles to. Vega fails on an empty mark.
  function named(vegaSpecification, shown, { ink }) {
    const { points, hasLine } = layersWithMarks(shown);
    const lines = vegaSpecification.marks.map((mark) => mark.name).filter((name) => hasLine && /^layer_[12]_/.test(name));
    const names = points.map((base, place) => ({
      type: "text",
      name: `names_${place}`,
      from: { data: base },
      interactive: false,
      aria: false,
      encode: { enter: { text: { signal: "datum.datum.label" }, fill: { value: ink }, fontSize: { value: 11 } } },
      transform: [
        {
          type: "label",
          size: { signal: "[max(width, 1), max(height, 1)]" }, // a figure in a hidden page has no width
          anchor: ["right", "bottom-right", "top-left", "left", "top", "bottom", "top-right", "bottom-left"],
          offset: [6],
          avoidMarks: [...lines, ...points.filter((other) => other !== base), ...points.slice(0, place).map((_, n) => `names_${n}`)],
        },
      ],
    }));
    return { ...vegaSpecification, marks: [...vegaSpecification.marks, ...names] };
  }

  function compiled(shown, colours, changes = {}) {
    const made = { ...specification(shown, colours, "width" in changes), ...changes };
    const vegaSpecification = vegaLite.compile(made, { logger: quiet }).spec;
    return vega.parse(shown.names ? named(vegaSpecification, shown, colours) : vegaSpecification);
  }

  async function draw() {
    const shown = state();
    const place = document.createElement("div");
    place.className = "live";
    const next = new vega.View(compiled(shown, onPage), { renderer: "svg", hover: true });
    next.logLevel(vega.Error).tooltip(showTip);
    chart.replaceChildren(place, tip);
    view?.finalize();
    view = await next.initialize(place).runAsync();
    const drawn = place.querySelector("svg");
    drawn.setAttribute("aria-label", `${data.specification.description} x: ${shown.axis.title}, ${shown.scale}.`);
    for (const empty of drawn.querySelectorAll("g[role]:empty")) empty.setAttribute("aria-hidden", "true");
    place.tabIndex = 0;
    place.setAttribute("role", "group");
    place.setAttribute("aria-label", "Figure of accuracy. Arrow keys go from point to point.");
    place.addEventListener("keydown", goTo);
    place.addEventListener("blur", hideTip);
    explainAbsent(shown);
  }

  function explainAbsent(shown) {
    const absent = rowsOf(shown).filter((row) => !hasPlace(row, shown));
    const zero = absent.filter((row) => row[shown.axis.column] === 0).map((row) => row.label);
    const unknown = absent.filter((row) => row[shown.axis.column] === null);
    const counted = (rows, which) => `${rows.length} ${which} ${rows.length === 1 ? "point" : "points"}`;
    const ours = unknown.filter((row) => row.published === "no");
    const published = unknown.filter((row) => row.published === "yes");
    const sentences = [];
    if (zero.length) sentences.push(`Not on a log axis, as x is 0: ${zero.join(", ")}.`);
    if (ours.length) sentences.push(`Not drawn: ${counted(ours, "single-seed")} whose x is not recorded for one seed alone.`);
    if (published.length) sentences.push(`Not drawn: ${counted(published, "published")} without a published x.`);
    note.textContent = sentences.join(" ");
  }

  // ------------------------------------------------------------------------------------------ pointer and keys

  function showTip(_, event, item, value) {
    if (!value) return hideTip();
    const spot = event.target.getBoundingClientRect();
    fillTip(value, spot);
  }

  function fillTip(value, spot) {
    const isSaid = ([title, text]) => text !== "" && text != null && !(title === "series" && data.series.length < 2);
    const lines = Object.entries(value).filter(isSaid);
    tip.replaceChildren(
      ...lines.map(([title, text]) => {
        const line = document.createElement("div");
        const name = document.createElement("span");
        name.textContent = title;
        line.append(name, ` ${text}`);
        return line;
      }),
    );
    tip.hidden = false;
    placeTip(spot, chart.getBoundingClientRect());
  }

  // Beside the point where there is room, else below it.
  function placeTip(spot, frame) {
    const [width, height] = [tip.offsetWidth, tip.offsetHeight];
    const right = spot.right - frame.left + 12;
    const left = spot.left - frame.left - 12 - width;
    const isBeside = right + width <= frame.width || left >= 0;
    const beside = right + width <= frame.width ? right : left;
    const middle = spot.top - frame.top - height / 2;
    tip.style.left = `${isBeside ? beside : Math.max(0, Math.min(frame.width - width, right - 12 - width / 2))}px`;
    tip.style.top = `${isBeside ? Math.max(0, Math.min(frame.height - height, middle)) : spot.bottom - frame.top + 10}px`;
  }

  function hideTip() {
    tip.hidden = true;
    chart.querySelector(".chosen")?.classList.remove("chosen");
  }

  // Vega keeps the item of a mark on its SVG element.
  function drawnPoints() {
    const nodes = [...chart.querySelectorAll(".live .mark-symbol path")].filter((node) => node.__data__?.datum?.label);
    return nodes.sort((a, b) => a.__data__.x - b.__data__.x || b.__data__.y - a.__data__.y);
  }

  function goTo(event) {
    const points = drawnPoints();
    const now = points.findIndex((node) => node.classList.contains("chosen"));
    const last = points.length - 1;
    const targets = { ArrowRight: Math.min(last, now + 1), ArrowLeft: Math.max(0, now - 1), Home: 0, End: last };
    if (event.key === "Escape") return hideTip();
    if (!(event.key in targets) || !points.length) return;
    event.preventDefault();
    hideTip();
    const chosen = points[targets[event.key]];
    chosen.classList.add("chosen");
    fillTip(chosen.__data__.tooltip, chosen.getBoundingClientRect());
    said.textContent = chosen.__data__.datum.said;
  }

  // ------------------------------------------------------------------------------------------------- downloads

  function save(name, blob) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }

  // In light colours, 720 pixels wide, with a legend if there are several series.
  function exported() {
    const size = { width: 720, height: 400, padding: 12 };
    return new vega.View(compiled(state(), data.light, size), { renderer: "none" }).logLevel(vega.Error);
  }

  // As s1/files/csv_files.py writes: no text may act as a formula in a spreadsheet.
  function cell(value) {
    if (value === null || value === undefined) return "";
    const isText = typeof value === "string";
    const isFormula = isText && /^'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/.test(value);
    const isNumber = isText && /^[+-]?\d+(\.\d+)?([eE][+-]?\d+)?$/.test(value);
    const text = isFormula && !isNumber ? `'${value}` : `${value}`;
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }

  function table() {
    const lines = rowsOf(state()).map((row) => data.columns.map((column) => cell(row[column])).join(","));
    return [data.columns.join(","), ...lines].join("\n") + "\n";
  }

  const downloads = {
    png: async () => save(`${data.name}.png`, blobOf(await exported().toImageURL("png", 2))),
    svg: async () => save(`${data.name}.svg`, new Blob([await exported().toSVG()], { type: "image/svg+xml" })),
    csv: async () => save(`${data.name}.csv`, new Blob([table()], { type: "text/csv" })),
  };

  function blobOf(address) {
    const [head, base64] = address.split(",");
    const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    return new Blob([bytes], { type: head.slice(5, head.indexOf(";")) });
  }

  // ---------------------------------------------------------------------------------------------------- start

  function redraw() {
    drawing = drawing.then(draw);
    return drawing;
  }

  async function start() {
    if (!data.rows.length) return;
    try {
      await s1.load("vega-lite");
    } catch (problem) {
      note.textContent = `The figure is not interactive here: ${problem.message}.`;
      return;
    }
    await redraw();
    s1.figure.readyAt = performance.now(); // milliseconds since the page was opened
    form.hidden = false;
    document.querySelector("#figure .keys").hidden = false;
    form.addEventListener("change", redraw);
    form.addEventListener("submit", (event) => event.preventDefault());
    for (const [name, download] of Object.entries(downloads)) form.elements[name].addEventListener("click", download);
  }

  // Kept when all that was chosen so far is drawn.
  s1.figure = { settled: () => drawing };
  start();
})();
