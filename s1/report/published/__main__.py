"""Print the published numbers as Markdown: `python -m s1.report.published`."""

from s1.report.published.page import readme
from s1.report.published.reader import tables

print(readme(tables()), end="")
