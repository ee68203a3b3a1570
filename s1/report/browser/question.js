// One question: its text, and two traces side by side, from where they part.

const KIND_WORDS = {
  appended: "appended",
  cut: "thinking cut",
  unknown: "not divided: the tokenizer at hand does not give this text",
};
const FOLDED_LEAST = 80; // characters in common that are worth folding

class QuestionView {
  constructor(dialog, grid, katexOf) {
    Object.assign(this, { dialog, grid, katexOf, katex: null, turn: 0 });
    this.part = (name) => dialog.querySelector(`.traces-${name}`);
    this.latex = this.part("latex input");
    this.latex.addEventListener("change", () => this.draw());
  }

  // `state`: {row, sides: [{point, seed, sample}, ...]}.
  async show(state) {
    this.state = state;
    const { id, task, gold } = this.grid.question(state.row);
    this.part("title").textContent = `Question ${state.row}`;
    this.part("id").textContent = this.grid.index.tasks.length > 1 ? `${id}, ${task}` : id;
    this.part("gold").textContent = gold;
    await this.draw();
  }

  async draw() {
    const turn = (this.turn += 1); // a later call wins
    const { row, sides } = this.state;
    const index = this.grid.index;
    try {
      const [text, ...traces] = await Promise.all([
        questionText(index, row),
        ...sides.map((side) => this.traceOf(row, side)),
      ]);
      this.katex = this.latex.checked ? await this.katexOf() : null;
      if (turn !== this.turn) return;
      this.part("question").replaceChildren(this.typeset(text));
      const common = this.commonOf(traces);
      const shown = traces.map((trace, side) => this.side(trace, sides[side], common, text));
      this.part("sides").replaceChildren(...shown);
      this.part("status").textContent = "";
    } catch (error) {
      if (turn !== this.turn) return;
      this.part("question").replaceChildren();
      this.part("sides").replaceChildren();
      this.part("status").textContent = error.message;
    }
  }

  traceOf(row, { point, seed, sample }) {
    const source = this.grid.points[point].sources.find((each) => this.grid.index.sources[each].seed === seed);
    return source === undefined ? null : traceOf(this.grid.index, row, source, sample);
  }

  typeset(text) {
    return typeset(text, this.katex);
  }

  // UTF-16 units of thinking that both traces begin with; 0 if there is nothing to fold.
  commonOf([one, other]) {
    if (!one || !other) return 0;
    const common = commonPrefix(one.pieces, other.pieces);
    return common >= FOLDED_LEAST ? common : 0;
  }

  side(trace, side, common, text) {
    const name = this.grid.names[side.point];
    const made = element("section", { className: "traces-side" });
    made.setAttribute("aria-label", name);
    made.append(element("h4", {}, name));
    if (!trace) {
      made.append(element("p", {}, "This point was not asked this question with this seed and sample."));
      return made;
    }
    made.append(this.facts(trace), this.prompt(trace, text), element("h5", {}, "Thinking"), this.thinking(trace, common));
    made.append(element("h5", {}, "Answer"), this.block(trace.answer || "(none)"), ...this.graded(trace));
    return made;
  }

  facts(trace) {
    const verdict = trace.right ? "✓ right" : trace.isCut ? "✂ cut" : trace.outcome === "none" ? "○ no answer" : "✕ wrong";
    const facts = [
      counted(trace.thinkingTokens, "thinking token"),
      trace.answerTokens === null ? "no answer was requested" : counted(trace.answerTokens, "answer token"),
      trace.ending === "forced" ? "thinking cut" : "",
      trace.waits ? `${counted(trace.waits, "end")} suppressed` : "",
      trace.loops ? "thinking loops" : "",
      trace.branches ? `one of ${trace.branches} traces that were run for this answer` : "",
    ];
    const kind = trace.right ? "right" : trace.isCut ? "cut" : trace.outcome === "none" ? "none" : "wrong";
    const line = element("p", { className: "traces-facts" }, element("strong", { className: `traces-${kind}` }, verdict));
    line.append(` ${facts.filter(Boolean).join(", ")}`);
    return line;
  }

  prompt(trace, text) {
    const fold = folded("The prompt as the engine saw it", () =>
      trace.prompt === null
        ? element("p", {}, "Not known: it cannot be rendered again exactly, with as many tokens as the trace records.")
        : this.plain(trace.prompt),
    );
    if (trace.question === text) return fold;
    const made = document.createDocumentFragment();
    made.append(folded("This point's wording of the question", () => this.block(trace.question)), fold);
    return made;
  }

  thinking(trace, common) {
    const made = document.createDocumentFragment();
    const [before, after] = dividedAt(trace.pieces, common);
    if (common) {
      const characters = [...textOfPieces(before)].length; // not UTF-16 units
      const ends = before.filter(({ origin }) => origin === "appended").length;
      const marked = ends ? ` with ${counted(ends, "suppressed end")}` : "";
      made.append(folded(`${count(characters)} characters in common${marked}`, () => this.pieces(before)));
    }
    const rest = this.pieces(after);
    if (common) rest.classList.add("traces-parted");
    made.append(rest);
    return made;
  }

  pieces(pieces) {
    const box = element("div", { className: "traces-text" });
    for (const { text, origin } of pieces) {
      if (origin === "sampled") {
        box.append(this.typeset(text));
        continue;
      }
      const made = element("span", { className: `traces-piece traces-of-${origin}` });
      const words = origin === "appended" && !text ? "end suppressed" : KIND_WORDS[origin];
      if (words) made.append(element("span", { className: "traces-mark" }, words));
      made.append(text);
      box.append(made);
    }
    if (!pieces.some(({ text }) => text)) box.append(element("em", {}, "(empty)"));
    return box;
  }

  graded(trace) {
    const written = (trace.pieces.at(-1)?.text ?? "") + trace.answer;
    const isWhole = trace.graded === trace.answer || trace.graded === written;
    const read = element("dl", { className: "traces-verdict" });
    const add = (term, ...value) => read.append(element("div", {}, element("dt", {}, term), element("dd", {}, ...value)));
    add("the grader read", isWhole && trace.graded ? "the whole answer" : trace.graded ? this.block(trace.graded) : "nothing");
    add("found in the answer", trace.extracted === null ? "no answer" : this.typeset(trace.extracted));
    add("verdict", trace.right ? "right" : "wrong", trace.note ? ` (${trace.note})` : "");
    if (trace.isCut) add("cut by", trace.answerEnd === "cap" ? "budget.answer_tokens" : "the end of the context");
    return [read];
  }

  block(text) {
    return element("div", { className: "traces-text" }, this.typeset(text));
  }

  plain(text) {
    return element("div", { className: "traces-text" }, text);
  }
}

const count = (number) => number.toLocaleString("en");
const counted = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;

// Pieces before and after a place in the text. A piece without text belongs to what follows it.
function dividedAt(pieces, place) {
  const [before, after] = [[], []];
  let from = 0;
  for (const piece of pieces) {
    const cut = Math.max(0, Math.min(piece.text.length, place - from));
    if (cut) before.push(Object.assign({}, piece, { text: piece.text.slice(0, cut) }));
    if (cut < piece.text.length || !piece.text) {
      const isBefore = !piece.text && from < place;
      (isBefore ? before : after).push(Object.assign({}, piece, { text: piece.text.slice(cut) }));
    }
    from += piece.text.length;
  }
  return [before, after];
}

// Details whose content is made when they are opened first.
function folded(summary, content) {
  const details = element("details", {}, element("summary", {}, summary));
  details.addEventListener("toggle", () => details.open && details.append(content()), { once: true });
  return details;
}
