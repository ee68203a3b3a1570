// The grid of questions by points. Only rows in view exist; the grid keeps the focus and names its active cell.

const SPARE_ROWS = 8; // above and below the view

class GridView {
  constructor(root, grid, open) {
    Object.assign(this, { root, grid, open, rows: [], shown: [], active: { line: 0, column: 0 } });
    this.head = root.querySelector(".traces-head");
    this.body = root.querySelector(".traces-rows");
    root.addEventListener("scroll", () => this.draw(), { passive: true });
    root.addEventListener("keydown", (event) => this.key(event));
    root.addEventListener("click", (event) => this.click(event));
    new ResizeObserver(() => this.draw()).observe(root);
  }

  // Points as columns, and rows of questions in their order.
  show(shown, rows) {
    const active = this.rows[this.active.line];
    Object.assign(this, { shown, rows });
    const line = rows.indexOf(active);
    this.active = { line: Math.max(0, line), column: Math.min(this.active.column, shown.length) };
    this.root.setAttribute("aria-rowcount", rows.length + 1);
    this.root.setAttribute("aria-colcount", shown.length + 1);
    this.head.replaceChildren(this.corner(), ...shown.map((point, place) => this.heading(point, place)));
    this.drawn = null;
    this.draw();
  }

  corner() {
    return element("div", { role: "columnheader", className: "traces-name", ariaColIndex: 1 }, "question");
  }

  heading(point, place) {
    const invalid = this.grid.points[point].valid ? "" : " ✕ invalid";
    const name = this.grid.names[point] + invalid;
    const heading = element("div", { role: "columnheader", title: name, ariaColIndex: place + 2 }, element("span", {}, name));
    heading.dataset.point = point;
    return heading;
  }

  get rowHeight() {
    return this.body.firstElementChild?.offsetHeight || 30;
  }

  draw() {
    const height = this.rowHeight;
    const first = Math.max(0, Math.floor((this.root.scrollTop - this.head.offsetHeight) / height) - SPARE_ROWS);
    const last = Math.min(this.rows.length, first + Math.ceil(this.root.clientHeight / height) + 2 * SPARE_ROWS);
    const drawn = `${first} ${last} ${this.shown} ${height}`;
    if (drawn !== this.drawn) {
      this.drawn = drawn;
      this.body.style.paddingTop = `${first * height}px`;
      this.body.style.paddingBottom = `${(this.rows.length - last) * height}px`;
      this.body.replaceChildren(...this.rows.slice(first, last).map((row, place) => this.line(row, first + place)));
    }
    this.mark();
  }

  line(row, line) {
    const { id } = this.grid.question(row);
    const name = element("div", { role: "rowheader", className: "traces-name", title: id, ariaColIndex: 1 });
    name.append(element("b", {}, `#${row}`), ` ${id}`);
    name.dataset.column = 0;
    const cells = this.shown.map((point, place) => this.cell(row, point, place + 1));
    const made = element("div", { role: "row", className: "traces-row", ariaRowIndex: line + 2 });
    made.append(name, ...cells);
    made.dataset.line = line;
    for (const each of [name, ...cells]) each.id = `trace-cell-${line}-${each.dataset.column}`;
    return made;
  }

  cell(row, point, column) {
    const { kind, sign, words } = this.grid.shown(row, point);
    const forced = this.grid.forced[this.grid.at(row, point)] ? " traces-forced" : "";
    const cell = element("div", { role: "gridcell", className: `traces-cell traces-${kind}${forced}`, ariaColIndex: column + 1 });
    cell.setAttribute("aria-label", `question ${row}, ${this.grid.names[point]}: ${words}`);
    cell.textContent = sign;
    cell.dataset.column = column;
    return cell;
  }

  mark() {
    this.root.querySelector(".traces-active")?.classList.remove("traces-active");
    const active = this.body.querySelector(`#trace-cell-${this.active.line}-${this.active.column}`);
    active?.classList.add("traces-active");
    if (active) this.root.setAttribute("aria-activedescendant", active.id);
    else this.root.removeAttribute("aria-activedescendant");
  }

  move(line, column) {
    this.active = {
      line: Math.max(0, Math.min(this.rows.length - 1, line)),
      column: Math.max(0, Math.min(this.shown.length, column)),
    };
    this.reveal();
    this.draw();
  }

  // Scroll as little as shows the active cell beside the heads of its row and column.
  reveal() {
    const height = this.rowHeight;
    const top = this.active.line * height;
    const room = this.root.clientHeight - this.head.offsetHeight;
    if (top < this.root.scrollTop) this.root.scrollTop = top;
    if (top + height > this.root.scrollTop + room) this.root.scrollTop = top + height - room;
    const heading = this.head.children[this.active.column];
    const name = this.head.firstElementChild.offsetWidth;
    if (!heading || this.active.column === 0) return;
    const left = heading.offsetLeft - name;
    if (left < this.root.scrollLeft) this.root.scrollLeft = left;
    const right = heading.offsetLeft + heading.offsetWidth - this.root.clientWidth;
    if (right > this.root.scrollLeft) this.root.scrollLeft = right;
  }

  key(event) {
    const { line, column } = this.active;
    const page = Math.max(1, Math.floor(this.root.clientHeight / this.rowHeight) - 2);
    const whole = event.ctrlKey || event.metaKey;
    const moves = {
      ArrowUp: [line - 1, column],
      ArrowDown: [line + 1, column],
      ArrowLeft: [line, column - 1],
      ArrowRight: [line, column + 1],
      PageUp: [line - page, column],
      PageDown: [line + page, column],
      Home: [whole ? 0 : line, 0],
      End: [whole ? this.rows.length - 1 : line, this.shown.length],
    };
    if (moves[event.key]) this.move(...moves[event.key]);
    else if (event.key === "Enter" || event.key === " ") this.openActive();
    else return;
    event.preventDefault();
  }

  click(event) {
    const cell = event.target.closest("[data-column]");
    const line = event.target.closest("[data-line]");
    if (!cell || !line) return;
    this.move(Number(line.dataset.line), Number(cell.dataset.column));
    this.openActive();
  }

  openActive() {
    const row = this.rows[this.active.line];
    if (row !== undefined) this.open(row, this.shown[this.active.column - 1] ?? null);
  }

  // Make a question the active one, if it is listed.
  activate(row) {
    const line = this.rows.indexOf(row);
    if (line >= 0) this.move(line, this.active.column);
  }
}

// A new element with properties, the role and ARIA numbers as attributes, and content.
function element(name, properties = {}, ...content) {
  const made = document.createElement(name);
  const attributes = { role: "role", ariaColIndex: "aria-colindex", ariaRowIndex: "aria-rowindex" };
  for (const [property, value] of Object.entries(properties)) {
    if (attributes[property]) made.setAttribute(attributes[property], value);
    else made[property] = value;
  }
  made.append(...content);
  return made;
}
