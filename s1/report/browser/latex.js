// LaTeX in a text, as MathML. Everything else stays text, and what KaTeX cannot read stays as it was written.

const MATH = /\$\$([\s\S]{1,4000}?)\$\$|\\\[([\s\S]{1,4000}?)\\\]|\\\(([\s\S]{1,4000}?)\\\)|\$(?![\s$])([^$\n]*?[^$\s\\])\$(?!\d)|(\\boxed\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\})/g;
const OPTIONS = { output: "mathml", throwOnError: true, trust: false, strict: "ignore", maxSize: 20, maxExpand: 200 };
const rendered = new Map(); // a thinking that loops writes one formula a thousand times; null: not LaTeX after all

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

// The element of a formula; null for what KaTeX cannot read, such as a price in dollars.
function formulaOf(match, katex) {
  const [whole, display, bracketed, inline, dollar, boxed] = match;
  if (!rendered.has(whole)) {
    const tex = display ?? bracketed ?? inline ?? dollar ?? boxed;
    rendered.set(whole, elementOf(whole, tex, display !== undefined || bracketed !== undefined, katex));
  }
  return rendered.get(whole)?.cloneNode(true);
}

function elementOf(whole, tex, displayMode, katex) {
  const place = document.createElement("span");
  place.title = whole;
  try {
    katex.render(tex, place, Object.assign({ displayMode }, OPTIONS));
    return place;
  } catch {
    return null;
  }
}
