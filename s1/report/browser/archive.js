// The trace archive (s1/report/trace_archive/files.py): the index at once, texts of a question when somebody asks.

const SERVED = "traces/"; // folder beside the page
const FIRST_STATE = 48;
const OUTCOMES = ["answered", "forced", "none"];
const ENDINGS = ["natural", "forced", "none"];
const ORIGINS = ["sampled", "appended", "cut", "delimiter", "unknown"];

async function unpacked(base64) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

const waitingFor = new Map(); // what to do with the content of a file, by name
window.s1Traces = (name, packed) => waitingFor.get(name)?.(packed);

// The packed content of a file: in the page if the archive is small, else from the folder beside it, also by file://.
function packedFile(name) {
  const inline = document.getElementById(`traces-${name}`);
  if (inline) return Promise.resolve(inline.textContent.trim());
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    waitingFor.set(name, resolve);
    script.onload = () => script.remove();
    script.onerror = () => {
      script.remove();
      reject(new Error(`${SERVED}${name}.js is not beside this page. Open report.html in the folder of its result.`));
    };
    script.src = `${SERVED}${name}.js`;
    document.head.append(script);
  });
}

const loadedFiles = new Map();

function load(name) {
  if (!loadedFiles.has(name)) {
    const loading = packedFile(name).then(unpacked);
    loading.catch(() => loadedFiles.delete(name)); // another try may succeed
    loadedFiles.set(name, loading);
  }
  return loadedFiles.get(name);
}

// ------------------------------------------------------------------------------------------------------- the grid

// Counts of the traces of each question (row) under each point: arrays of rows * points.
class Grid {
  constructor(index) {
    this.index = index;
    this.points = index.points;
    this.rows = index.questions.length;
    const size = this.rows * this.points.length;
    for (const name of ["total", "right", "cut", "none", "loops", "forced", "longest"]) {
      this[name] = new Uint32Array(size);
    }
    this.points.forEach((point, place) => point.sources.forEach((source) => this.count(place, source)));
    this.meanTokens = this.points.map((_, place) => this.meanTokensOf(place));
    this.names = namesOf(this.points);
    this.series = [...new Set(this.points.flatMap((point) => point.series))];
  }

  count(place, source) {
    const { states, tokens } = this.index.cells[source];
    const samples = this.index.sources[source].samples;
    for (let at = 0; at < states.length; at += 1) {
      const value = states.charCodeAt(at) - FIRST_STATE;
      if (value < 0) continue; // a point without this question
      const cell = Math.floor(at / samples) * this.points.length + place;
      this.total[cell] += 1;
      this.right[cell] += value & 1;
      this.cut[cell] += (value >> 1) & 1;
      this.loops[cell] += (value >> 2) & 1;
      this.none[cell] += OUTCOMES[(value >> 3) % 3] === "none" ? 1 : 0;
      this.forced[cell] += ENDINGS[Math.floor(value / 24)] === "forced" ? 1 : 0;
      this.longest[cell] = Math.max(this.longest[cell], tokens[at]);
    }
  }

  meanTokensOf(place) {
    let sum = 0;
    let count = 0;
    for (const source of this.points[place].sources) {
      const { states, tokens } = this.index.cells[source];
      for (let at = 0; at < states.length; at += 1) {
        if (states[at] === " ") continue;
        sum += tokens[at];
        count += 1;
      }
    }
    return count ? sum / count : 0;
  }

  at(row, point) {
    return row * this.points.length + point;
  }

  question(row) {
    const [id, task, gold] = this.index.questions[row];
    return { row, id, gold, task: this.index.tasks[task] };
  }

  // What a cell shows: its kind, its sign and the same in words.
  shown(row, point) {
    const cell = this.at(row, point);
    const [total, right] = [this.total[cell], this.right[cell]];
    if (!total) return { kind: "absent", sign: "", words: "not asked" };
    if (right === total) return { kind: "right", sign: "✓", words: total > 1 ? `all ${total} right` : "right" };
    if (right) return { kind: "part", sign: `${right}/${total}`, words: `${right} of ${total} right` };
    const all = total > 1 ? `all ${total} ` : "";
    if (this.cut[cell] === total) return { kind: "cut", sign: "✂", words: `${all}answer cut` };
    if (this.none[cell] === total) return { kind: "none", sign: "○", words: `${all}no answer` };
    return { kind: "wrong", sign: "✕", words: `${all}wrong` };
  }

  // Whether a trace is right; null if there is none.
  verdict(row, source, sample) {
    const value = this.index.cells[source].states.charCodeAt(row * this.index.sources[source].samples + sample) - FIRST_STATE;
    return value < 0 ? null : Boolean(value & 1);
  }

  // The traces of a point: ["0/1", ...] for seed 0 and sample 1.
  places(row, point) {
    return this.points[point].sources.flatMap((source) => {
      const { samples, seed } = this.index.sources[source];
      const every = [...Array(samples).keys()].filter((sample) => this.verdict(row, source, sample) !== null);
      return every.map((sample) => `${seed}/${sample}`);
    });
  }
}

// Labels, with the series where several points share one.
function namesOf(points) {
  const count = new Map();
  for (const { label } of points) count.set(label, (count.get(label) ?? 0) + 1);
  return points.map(({ label, series }) => (count.get(label) > 1 && series[0] ? `${label}, ${series[0]}` : label));
}

// ------------------------------------------------------------------------------------------------------- the texts

// Lengths in the archive count characters (code points); indices of strings count UTF-16 units.
function unitsOf(text, characters, from = 0) {
  let at = from;
  for (let left = characters; left > 0 && at < text.length; left -= 1) {
    const unit = text.charCodeAt(at);
    at += unit >= 0xd800 && unit < 0xdc00 && at + 1 < text.length ? 2 : 1;
  }
  return at;
}

const hasPairs = (text) => /[\ud800-\udbff]/.test(text);

function firstCharacters(text, characters) {
  return hasPairs(text) ? text.slice(0, unitsOf(text, characters)) : text.slice(0, characters);
}

function textOf(nodes, [node, length]) {
  const parts = [];
  while (node >= 0 && length > 0) {
    const [parent, at, rest] = nodes[node];
    parts.unshift(firstCharacters(rest, Math.max(0, length - at)));
    [node, length] = [parent, Math.min(length, at)];
  }
  return parts.join("");
}

function piecesOf(stored, nodes) {
  const text = textOf(nodes, stored.thinking);
  const pairs = hasPairs(text);
  let from = 0;
  return stored.pieces.map(([characters, origin]) => {
    const to = pairs ? unitsOf(text, characters, from) : from + characters;
    const piece = { text: text.slice(from, to), origin: ORIGINS[origin] };
    from = to;
    return piece;
  });
}

function gradedOf(stored, written, nodes) {
  if (stored.graded.length === 2) return textOf(nodes, stored.graded);
  const [start, length, rest] = stored.graded;
  return firstCharacters(written.slice(unitsOf(written, start)), length) + rest;
}

// A trace as text: pieces of thinking, answer, what the grader read.
async function traceOf(index, row, source, sample) {
  const file = await load(index.files[index.questions[row][3]]);
  const { traces, nodes } = file.rows.find((each) => each.row === row);
  const stored = traces[source]?.[sample];
  if (!stored) return null;
  const value = stored.state.charCodeAt(0) - FIRST_STATE;
  const pieces = piecesOf(stored, nodes);
  const answer = textOf(nodes, stored.answer);
  return {
    pieces,
    answer,
    graded: gradedOf(stored, (pieces.at(-1)?.text ?? "") + answer, nodes),
    question: textOf(nodes, stored.question),
    prompt: stored.prompt && textOf(nodes, stored.prompt),
    extracted: stored.extracted,
    note: stored.note,
    right: Boolean(value & 1),
    isCut: Boolean(value & 2),
    loops: Boolean(value & 4),
    outcome: OUTCOMES[(value >> 3) % 3],
    ending: ENDINGS[Math.floor(value / 24)],
    answerEnd: stored.answer_end,
    thinkingTokens: stored.tokens[0],
    answerTokens: stored.tokens[1],
    waits: stored.waits,
    branches: stored.branches,
  };
}

async function questionText(index, row) {
  const file = await load(index.files[index.questions[row][3]]);
  const { text, nodes } = file.rows.find((each) => each.row === row);
  return textOf(nodes, text);
}

// UTF-16 units that two traces have in common at their beginning, in text and in origin, never half a character: a "Wait"
// that one model wrote is another beginning than one that was appended.
function commonPrefix(pieces, others) {
  const shared = commonUnits(textOfPieces(pieces), textOfPieces(others));
  const [one, other] = [runsOf(pieces), runsOf(others)];
  let place = 0;
  for (let at = 0; at < Math.min(one.length, other.length); at += 1) {
    if (one[at].origin !== other[at].origin) return Math.min(shared, place);
    place += Math.min(one[at].length, other[at].length);
    if (one[at].length !== other[at].length) return Math.min(shared, place);
  }
  return shared;
}

const textOfPieces = (pieces) => pieces.map(({ text }) => text).join("");

// Origin and length of neighbouring pieces of one origin; a piece without text stands for itself.
function runsOf(pieces) {
  const runs = [];
  for (const { text, origin } of pieces) {
    const last = runs.at(-1);
    if (last?.length && text && last.origin === origin) last.length += text.length;
    else runs.push({ origin, length: text.length });
  }
  return runs;
}

function commonUnits(one, other) {
  const most = Math.min(one.length, other.length);
  let at = 0;
  while (at < most && one.charCodeAt(at) === other.charCodeAt(at)) at += 1;
  const last = one.charCodeAt(at - 1);
  return at > 0 && last >= 0xd800 && last < 0xdc00 ? at - 1 : at;
}
