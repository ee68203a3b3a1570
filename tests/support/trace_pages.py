"""A page with nothing but the trace browser, beside its archive."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from jinja2 import Environment, FileSystemLoader, StrictUndefined

import s1.report
from s1.report.browser.section import trace_section
from s1.report.vendor import Script, embedded

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>traces</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<style>
:root { --paper: #fdfdfb; --ink: #22252a; --soft: #5b6068; --faint: #8b9098; --rule: #d9dce0; --wash: #f4f4f0;
  --line-0: #1f5fa8; }
@media (prefers-color-scheme: dark) { :root { --paper: #16181b; --ink: #e6e4df; --soft: #a9adb4; --faint: #7d828a;
  --rule: #34383e; --wash: #1e2125; --line-0: #7db3f0; } }
* { box-sizing: border-box; } body { margin: 0; background: var(--paper); color: var(--ink); }
main { max-width: 60rem; margin: 0 auto; padding: 1rem; }
{% include "browser/traces.css" %}
</style></head><body><main><h1>A scan</h1><section id="traces"><h2>Traces</h2>
{% include "browser/traces.html.jinja" %}
</section></main>
<script type="text/plain" id="vendor-katex">{{ katex }}</script>
<script>
window.s1 = { load: async (name) => {
  const bytes = Uint8Array.from(atob(document.getElementById(`vendor-${name}`).textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);
} };
</script></body></html>
"""


def trace_page(folder: Path, inline: bool = True) -> Path:
    """Write page.html beside traces/ in this folder; without `inline` all data is in the files of traces/."""
    section = trace_section(folder / "traces")
    if not inline:
        section = SimpleNamespace(**{**vars(section), "inline": [], "is_inline": False})
    loader = FileSystemLoader(Path(s1.report.__file__).parent)
    environment = Environment(loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(PAGE).render(page=SimpleNamespace(traces=section), katex=embedded(Script.KATEX))
    (folder / "page.html").write_text(page, encoding="utf-8")
    return folder / "page.html"
