// Controls, the address of a view (#q=12&a=0&b=3), and loading.

const root = document.getElementById("trace-browser");
const find = (name) => root.querySelector(`.traces-${name}`);

// KaTeX is in the page, compressed; null if it is not, or cannot run.
const katexOf = () => (window.s1?.load?.("katex") ?? Promise.reject()).then(() => window.katex ?? null).catch(() => null);

async function start() {
  try {
    new Browser(new Grid(await load("index"))).start();
  } catch (error) {
    find("matches").textContent = error.message;
    return;
  }
  find("controls").hidden = false;
  find("grid").hidden = false;
  find("legend").hidden = false;
}

class Browser {
  constructor(grid) {
    this.grid = grid;
    this.every = grid.points.map((_, place) => place);
    this.dialog = find("dialog");
    this.view = new QuestionView(this.dialog, grid, katexOf);
    this.list = new GridView(find("grid"), grid, (row, point) => this.open(row, point));
    const [first, last] = endsOf(grid, this.every);
    this.state = { a: first, b: last, filter: "all", order: "row", search: "", series: "", shown: this.every };
  }

  start() {
    this.fillControls();
    this.connect();
    this.list.show(this.state.shown, []);
    this.filter();
    this.readAddress();
    window.addEventListener("hashchange", () => this.readAddress());
  }

  // ------------------------------------------------------------------------------------------------ controls

  fillControls() {
    const { series } = this.grid;
    find("series").closest("label").hidden = series.length < 2;
    fill(find("series"), [["", "all series"], ...series.map((name) => [name, name || "(unnamed)"])]);
    fill(find("filter"), Object.entries(FILTERS).map(([name, { words }]) => [name, words]));
    fill(find("order"), Object.entries(ORDERS).map(([name, { words }]) => [name, words]));
    this.fillPoints();
    ["a", "b"].forEach((side) => fill(find(`side-${side}`), this.every.map((point) => [point, this.grid.names[point]])));
  }

  // Points of the chosen series; and the one that is compared, which a question or an address may take from another.
  fillPoints() {
    const { shown } = this.state;
    for (const side of ["a", "b"]) {
      const chosen = this.state[side];
      const points = shown.includes(chosen) ? shown : [...shown, chosen];
      fill(find(side), points.map((point) => [point, this.grid.names[point]]), chosen);
    }
  }

  connect() {
    const change = (name, apply) => find(name).addEventListener("input", () => apply(find(name).value));
    for (const side of ["a", "b"]) {
      change(side, (value) => {
        this.set({ [side]: Number(value) });
        this.fillPoints();
      });
      change(`side-${side}`, (value) => this.setSide(side, { point: Number(value) }));
      change(`place-${side}`, (value) => {
        const [seed, sample] = value.split("/").map(Number);
        this.setSide(side, { seed, sample });
      });
    }
    change("filter", (filter) => this.set({ filter }));
    change("order", (order) => this.set({ order }));
    change("search", (search) => this.set({ search }));
    change("series", (series) => this.setSeries(series));
    find("close").addEventListener("click", () => this.dialog.close());
    find("previous").addEventListener("click", () => this.step(-1));
    find("next").addEventListener("click", () => this.step(1));
    this.dialog.addEventListener("close", () => this.closed());
  }

  set(changes) {
    Object.assign(this.state, changes);
    this.filter();
  }

  setSeries(series) {
    const shown = this.every.filter((point) => !series || this.grid.points[point].series.includes(series));
    const [a, b] = endsOf(this.grid, shown);
    Object.assign(this.state, { series, shown, a, b });
    this.fillPoints();
    this.filter();
  }

  filter() {
    const { rows, counts } = filtered(this.grid, this.state);
    this.rows = rows;
    for (const option of find("filter").options) {
      option.textContent = `${FILTERS[option.value].words} (${count(counts[option.value])})`;
    }
    this.list.show(this.state.shown, rows);
    const words = this.state.filter === "all" ? "" : `: ${FILTERS[this.state.filter].words}`;
    find("matches").textContent = `${count(rows.length)} of ${count(this.grid.rows)} questions${words}`;
  }

  // ------------------------------------------------------------------------------------------- one question

  // Open a question with the point of a cell as B, beside A.
  open(row, point) {
    if (point !== null && point !== this.state.a) this.state.b = point;
    this.fillPoints();
    if (this.state.filter !== "all") this.filterLater = true; // flips are those of A and B
    this.show(row);
  }

  show(row, places = {}) {
    this.row = row;
    this.sides = ["a", "b"].map((side) => this.placeOf(row, this.state[side], places[side]));
    this.showSides();
    if (!this.dialog.open) this.dialog.showModal();
    this.dialog.scrollTop = 0;
  }

  // The seed and sample to show: the wanted one if the point has it, else its first.
  placeOf(row, point, wanted) {
    const places = this.grid.places(row, point);
    const [seed, sample] = (places.includes(wanted) ? wanted : (places[0] ?? "0/0")).split("/").map(Number);
    return { point, seed, sample };
  }

  setSide(side, changes) {
    const place = side === "a" ? 0 : 1;
    const before = this.sides[place];
    const point = changes.point ?? before.point;
    const wanted = `${changes.seed ?? before.seed}/${changes.sample ?? before.sample}`;
    this.sides[place] = this.placeOf(this.row, point, wanted);
    this.state[side] = point;
    this.fillPoints();
    this.filterLater = true;
    this.showSides();
  }

  showSides() {
    this.sides.forEach(({ point, seed, sample }, place) => {
      const side = place ? "b" : "a";
      const places = this.grid.places(this.row, point);
      find(`side-${side}`).value = point;
      fill(find(`place-${side}`), places.map((each) => [each, placeWords(each)]), `${seed}/${sample}`);
      find(`place-${side}`).closest("label").hidden = places.length < 2;
    });
    const line = this.rows.indexOf(this.row);
    find("previous").disabled = line <= 0;
    find("next").disabled = line < 0 || line === this.rows.length - 1;
    this.view.show({ row: this.row, sides: this.sides });
    this.writeAddress();
  }

  step(by) {
    const row = this.rows[this.rows.indexOf(this.row) + by];
    if (row !== undefined) this.show(row);
  }

  closed() {
    this.row = null;
    this.writeAddress();
    if (this.filterLater) this.filter();
    this.filterLater = false;
    find("grid").focus();
  }

  // -------------------------------------------------------------------------------------------- the address

  writeAddress() {
    const own = /^#q=/.test(location.hash);
    const [one, other] = this.row === null || this.row === undefined ? [] : this.sides;
    if (!one && !own) return;
    const sides = one ? `&a=${addressOf(one)}&b=${addressOf(other)}` : "";
    try {
      history.replaceState(null, "", one ? `#q=${this.row}${sides}` : "#traces");
    } catch {
      // a page that is embedded without an address of its own
    }
    if (one) this.list.activate(this.row);
  }

  // Open what the address names. What it names wrongly is not opened, and said.
  readAddress() {
    if (!/^#q=/.test(location.hash)) return;
    const named = new URLSearchParams(location.hash.slice(1));
    const row = Number(named.get("q"));
    const points = ["a", "b"].map((side) => (named.get(side) ?? `${this.state[side]}`).split("."));
    const known = points.every(([point]) => /^\d+$/.test(point) && this.grid.points[Number(point)]);
    if (!Number.isInteger(row) || row < 0 || row >= this.grid.rows || !known) {
      find("matches").textContent = `${location.hash}: this scan has no such question or point.`;
      return;
    }
    [this.state.a, this.state.b] = points.map(([point]) => Number(point));
    this.fillPoints();
    this.filter();
    const [a, b] = points.map(([, seed = "0", sample = "0"]) => `${seed}/${sample}`);
    this.show(row, { a, b });
    root.scrollIntoView();
  }
}

// A place in an address: the point, and its seed and sample unless they are the first.
const addressOf = ({ point, seed, sample }) => (seed || sample ? `${point}.${seed}.${sample}` : `${point}`);

function placeWords(place) {
  const [seed, sample] = place.split("/");
  return `seed ${seed}, sample ${sample}`;
}

// The points that think least and most, of the valid ones if there are two.
function endsOf(grid, shown) {
  const valid = shown.filter((point) => grid.points[point].valid);
  const ordered = [...(valid.length > 1 ? valid : shown)].sort((one, other) => grid.meanTokens[one] - grid.meanTokens[other]);
  return [ordered[0], ordered.at(-1)];
}

function fill(select, options, chosen = select.value) {
  select.replaceChildren(...options.map(([value, words]) => element("option", { value, textContent: words })));
  if (options.some(([value]) => `${value}` === `${chosen}`)) select.value = chosen;
}

if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
else start();
