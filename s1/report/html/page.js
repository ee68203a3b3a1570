// The section in view is marked in the contents; spent costs are read from costs.js when somebody asks for them.
(() => {
  const links = new Map([...document.querySelectorAll(".contents a")].map((link) => [link.hash.slice(1), link]));
  const visible = new Set();
  const watcher = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) visible[isIntersecting ? "add" : "delete"](target.id);
    const current = [...links.keys()].find((id) => visible.has(id));
    for (const [id, link] of links) {
      if (id === current) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  });
  for (const id of links.keys()) watcher.observe(document.getElementById(id));
})();

(() => {
  const details = document.getElementById("spent");
  const status = details.querySelector("p");
  const cell = (name, text) => Object.assign(document.createElement(name), { textContent: text });
  const number = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });
  const truths = new Map([[true, "yes"], [false, "no"], [null, "unknown"]]);
  const written = (value) => (typeof value === "number" ? number.format(value) : (truths.get(value) ?? value));

  function show(rows) {
    const columns = Object.keys(rows[0] ?? {}).filter((column) => !["stage", "stages"].includes(column));
    const table = document.createElement("table");
    const head = table.createTHead().insertRow();
    head.append(...columns.map((column) => cell("th", column.replaceAll("_", " "))));
    const body = table.createTBody();
    for (const row of rows) body.insertRow().append(...columns.map((column) => cell("td", written(row[column]))));
    details.querySelector("div").replaceChildren(table);
    status.textContent = rows.length
      ? "Planned: estimates of the plan when it was submitted. Spent: what the stages recorded; a stage of an earlier command is listed with what it cost then."
      : "costs.js beside this page lists no stage.";
  }

  function load() {
    if (window.s1Costs) return show(window.s1Costs);
    const script = document.createElement("script");
    script.src = "costs.js";
    script.onload = () => show(window.s1Costs ?? []);
    script.onerror = () => {
      status.textContent = "Planned costs are those above. What was spent is not known here: costs.js is not beside this page.";
    };
    document.head.append(script);
  }

  details.addEventListener("toggle", () => details.open && load(), { once: true });
})();
