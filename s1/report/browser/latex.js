// LaTeX in a text, as MathML. Everything else stays text, and what KaTeX cannot read stays as it was written.

const MATH = /\$\$([\s\S]+?)\$\$|\\\[([\s\S]+?)\\\]|\\\(([\s\S]+?)\\\)|\$(?![\s$])([^$\n]*?[^$\s\\])\$(?!\d)|(\\boxed\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\})/g;
const OPTIONS = { output: "mathml", throwOnError: true, trust: false, strict: "ignore", maxSize: 20, maxExpand: 200 };
const LONGEST_FORMULA = 4000; // characters; longer ones are no formulas

// Text nodes and formulas of a text. `katex` null: the text alone.
function typeset(text, katex) {
  const found = document.createDocumentFragment();
  let from = 0;
  for (const match of katex ? text.matchAll(MATH) : []) {
    const formula = formulaOf(match, katex);
    if (!formula) continue;
    found.append(text.slice(from, match.index), formula);
    from = match.index + match[0].length;
  }
  found.append(text.slice(from));
  return found;
}

function formulaOf(match, katex) {
  const [whole, display, bracketed, inline, dollar, boxed] = match;
  const tex = display ?? bracketed ?? inline ?? dollar ?? boxed;
  if (tex.length > LONGEST_FORMULA) return null;
  const place = document.createElement("span");
  place.title = whole;
  const displayMode = display !== undefined || bracketed !== undefined;
  try {
    katex.render(tex, place, Object.assign({ displayMode }, OPTIONS));
  } catch {
    return null; // not LaTeX after all, such as a price in dollars
  }
  return place;
}
