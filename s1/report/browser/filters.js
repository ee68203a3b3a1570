// Which questions the grid lists, and in which order. Each filter asks about one question under points a and b.

const FILTERS = {
  all: { words: "all questions", keeps: () => true },
  flips: {
    words: "answered differently under A and B",
    comparesPoints: true,
    keeps: (grid, row, a, b) => anyPair(grid, row, a, b, (one, other) => one !== other),
  },
  lostFromA: {
    words: "right under A, wrong under B",
    comparesPoints: true,
    keeps: (grid, row, a, b) => anyPair(grid, row, a, b, (one, other) => one && !other),
  },
  gainedFromA: {
    words: "wrong under A, right under B",
    comparesPoints: true,
    keeps: (grid, row, a, b) => anyPair(grid, row, a, b, (one, other) => !one && other),
  },
  lost: {
    words: "lost by thinking on",
    keeps: (grid, row, a, b, shown) => isLost(grid, row, shown),
  },
  none: { words: "no answer", keeps: (grid, row, a, b, shown) => has(grid, "none", row, shown) },
  cut: { words: "answer cut", keeps: (grid, row, a, b, shown) => has(grid, "cut", row, shown) },
  loops: { words: "thinking loops", keeps: (grid, row, a, b, shown) => has(grid, "loops", row, shown) },
};

const ORDERS = {
  row: { words: "number", by: (grid, row) => row },
  id: { words: "question id", by: (grid, row) => grid.question(row).id },
  longest: {
    words: "longest thinking first",
    by: (grid, row, shown) => -Math.max(0, ...shown.map((point) => grid.longest[grid.at(row, point)])),
  },
  hardest: {
    words: "fewest right first",
    by: (grid, row, shown) => share(shown.map((point) => grid.at(row, point)), grid),
  },
};

// Whether any trace that both points have passes: `test` gets whether it is right under each.
function anyPair(grid, row, a, b, test) {
  for (const one of grid.points[a].sources) {
    for (const other of grid.points[b].sources) {
      if (grid.index.sources[one].seed !== grid.index.sources[other].seed) continue;
      const samples = Math.min(grid.index.sources[one].samples, grid.index.sources[other].samples);
      for (let sample = 0; sample < samples; sample += 1) {
        const [first, second] = [grid.verdict(row, one, sample), grid.verdict(row, other, sample)];
        if (first !== null && second !== null && test(first, second)) return true;
      }
    }
  }
  return false;
}

function has(grid, name, row, shown) {
  return shown.some((point) => grid[name][grid.at(row, point)] > 0);
}

// Whether a trace is right at a point and wrong at the point of its series that thinks most.
function isLost(grid, row, shown) {
  return seriesAmong(grid, shown).some((line) =>
    line.slice(0, -1).some((point) => anyPair(grid, row, point, line.at(-1), (one, other) => one && !other)),
  );
}

// Valid points of each series, the one that thinks least first.
function seriesAmong(grid, shown) {
  return grid.series
    .map((name) => shown.filter((point) => grid.points[point].series.includes(name) && grid.points[point].valid))
    .map((line) => line.sort((one, other) => grid.meanTokens[one] - grid.meanTokens[other]))
    .filter((line) => line.length > 1);
}

function share(cells, grid) {
  const total = cells.reduce((sum, cell) => sum + grid.total[cell], 0);
  return total ? cells.reduce((sum, cell) => sum + grid.right[cell], 0) / total : 2;
}

function compared(one, other) {
  return typeof one === "string" ? one.localeCompare(other, "en", { numeric: true }) : one - other;
}

const keptRows = new Map();

// 1 for each row that a filter keeps, remembered: typing in the search must not ask again.
function keptBy(name, grid, a, b, shown) {
  const { keeps, comparesPoints } = FILTERS[name];
  const place = comparesPoints ? `${name} ${a} ${b} ${shown}` : `${name} ${shown}`;
  if (!keptRows.has(place)) {
    const flags = new Uint8Array(grid.rows);
    for (let row = 0; row < grid.rows; row += 1) {
      const isAsked = shown.some((point) => grid.total[grid.at(row, point)]);
      flags[row] = isAsked && keeps(grid, row, a, b, shown) ? 1 : 0;
    }
    keptRows.set(place, flags);
  }
  return keptRows.get(place);
}

// Rows that pass, in order, and how many pass each filter. `shown`: the points that the grid has as columns.
function filtered(grid, { a, b, filter, order, search, shown }) {
  const wanted = search.trim().toLowerCase().replace(/^#/, "");
  const isNumber = search.trim().startsWith("#") && /^\d+$/.test(wanted);
  const counts = Object.fromEntries(Object.keys(FILTERS).map((name) => [name, 0]));
  const rows = [];
  const kept = Object.keys(FILTERS).map((name) => [name, keptBy(name, grid, a, b, shown)]);
  for (let row = 0; row < grid.rows; row += 1) {
    if (isNumber ? row !== Number(wanted) : !grid.question(row).id.toLowerCase().includes(wanted)) continue;
    for (const [name, flags] of kept) {
      counts[name] += flags[row];
      if (flags[row] && name === filter) rows.push(row);
    }
  }
  const keys = new Map(rows.map((row) => [row, ORDERS[order].by(grid, row, shown)]));
  return { counts, rows: rows.sort((one, other) => compared(keys.get(one), keys.get(other)) || one - other) };
}
