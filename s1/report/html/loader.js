// Libraries are in the page as gzip in base64 (s1/report/vendor) and run when something first asks for them.
"use strict";
window.s1 = (() => {
  const after = { "vega-lite": "vega" };
  const loading = new Map();

  async function inflated(base64) {
    const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  }

  async function run(name) {
    const stored = document.getElementById(`vendor-${name}`);
    if (!stored) throw new Error(`${name} is not in this page`);
    if (after[name]) await load(after[name]);
    const script = document.createElement("script");
    script.textContent = await inflated(stored.textContent);
    document.head.append(script);
  }

  // A promise that is kept when the library has run; rejected if this page or this browser lacks it.
  function load(name) {
    if (!loading.has(name)) loading.set(name, run(name));
    return loading.get(name);
  }

  return { load, inflated };
})();
