"""A table as text: Markdown, CSV, LaTeX, HTML, or something that rich prints in a terminal.

Every renderer escapes what its format would read as its own; none changes a number.
"""

from __future__ import annotations

import csv as csv_module
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from .grid import Cell, Line, Row, Table

if TYPE_CHECKING:
    from rich.console import RenderableType

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    "±": r"$\pm$", "†": r"$\dagger$",
}  # fmt: skip

_HTML = """\
<figure class="clusterbench-table">
<style>
.clusterbench-table { font: 15px/1.4 system-ui, sans-serif; margin: 1em 0; }
.clusterbench-table .scroll { overflow-x: auto; }
.clusterbench-table table { border-collapse: collapse; }
.clusterbench-table caption { text-align: left; font-weight: 600; padding-bottom: .4em; }
.clusterbench-table th, .clusterbench-table td {
  padding: .3em .7em; border-bottom: 1px solid #8884; vertical-align: top; text-align: right;
}
.clusterbench-table .label { text-align: left; font-weight: normal; }
.clusterbench-table .label:first-child { position: sticky; left: 0; z-index: 1; background: Canvas; }
.clusterbench-table sup { font-size: 65%; line-height: 0; }
.clusterbench-table th[colspan] { text-align: left; padding-top: 1em; }
.clusterbench-table .best { font-weight: 700; }
.clusterbench-table .published { opacity: .75; }
.clusterbench-table .detail { font-size: 85%; opacity: .75; }
.clusterbench-table td div { white-space: nowrap; }
.clusterbench-table figcaption, .clusterbench-table ol, .clusterbench-table ul { max-width: 70em; font-size: 90%; }
</style>
<div class="scroll" tabindex="0" role="region" aria-label="{{ table.title }}">
<table>
<caption>{{ table.title }}</caption>
<thead><tr>
{%- for column in table.columns -%}
<th scope="col"{% if loop.index0 < table.labels %} class="label"{% endif %}>{{ column }}</th>
{%- endfor -%}
</tr></thead>
<tbody>
{% for row, heading in rows -%}
{% if heading %}<tr><th colspan="{{ table.columns | length }}" scope="rowgroup">{{ heading }}</th></tr>
{% endif -%}
<tr>
{%- for cell in row.cells -%}
{% set tag = "th" if loop.first else "td" -%}
<{{ tag }}{% if loop.first %} scope="row"{% endif %}{% if loop.index0 < table.labels %} class="label"{% endif %}>
{%- for line in cell %}{% set names = (line.role ~ (" best" if line.best else "")).strip() -%}
<div{% if names %} class="{{ names }}"{% endif %}>{{ line.text }}
{%- if line.mark_text %}<sup>{{ line.mark_text }}</sup>{% endif %}</div>{% endfor -%}
</{{ tag }}>
{%- endfor -%}
</tr>
{% endfor -%}
</tbody>
</table>
</div>
<figcaption>{{ table.caption }}</figcaption>
{% if table.footnotes %}<ol>
{% for note in table.footnotes %}<li>{{ note }}</li>
{% endfor %}</ol>
{% endif -%}
{% for section in table.sections %}<p>{{ section.title }}</p>
<ul>
{% for text in section.lines %}<li>{% if section.code %}<code>{{ text }}</code>{% else %}{{ text }}{% endif %}</li>
{% endfor %}</ul>
{% endfor -%}
</figure>
"""


def markdown(table: Table) -> str:
    """A GitHub-flavoured table; footnotes and lists follow it."""
    columns = len(table.columns)
    align = [":--"] * table.labels + ["--:"] * (columns - table.labels)
    parts = [f"### {_md(table.title)}", "", _md(table.caption), "", _md_row(list(map(_md, table.columns))), _md_row(align)]
    for row, heading in _with_headings(table):
        if heading:
            parts.append(_md_row([f"**{_md(heading)}**", *[""] * (columns - 1)]))
        parts.append(_md_row(["<br>".join(map(_md_line, cell)) for cell in row.cells]))
    parts += ["", *(f"{number}. {_md(note)}" for number, note in enumerate(table.footnotes, start=1))]
    for section in table.sections:
        lines = ["```sh", *section.lines, "```"] if section.code else [f"- {_md(text)}" for text in section.lines]
        parts += ["", f"**{_md(section.title)}**", "", *lines]
    return "\n".join(parts).rstrip() + "\n"


def csv(table: Table) -> str:
    """The facts of the table, a line for each, numbers unrounded: for a spreadsheet or pandas."""
    out = io.StringIO()
    if table.facts:
        writer = csv_module.DictWriter(out, list(table.facts[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _inert(value) for name, value in fact.items()} for fact in table.facts)
    return out.getvalue()


def latex(table: Table) -> str:
    """A `table*` environment for a paper; needs the package booktabs."""
    columns = len(table.columns)
    parts = [
        "% \\usepackage{booktabs}",
        "\\begin{table*}",
        f"\\caption{{{_tex(table.title)}. {_tex(table.caption)}}}",
        f"\\begin{{tabular}}{{{'l' * table.labels}{'r' * (columns - table.labels)}}}",
        "\\toprule",
        " & ".join(map(_tex, table.columns)) + r" \\",
        "\\midrule",
    ]
    for row, heading in _with_headings(table):
        if heading:
            parts.append(rf"\multicolumn{{{columns}}}{{l}}{{\textit{{{_tex(heading)}}}}} \\")
        parts.append(
            " & ".join(_tex_cell(cell, "l" if index < table.labels else "r") for index, cell in enumerate(row.cells)) + r" \\"
        )
    parts += ["\\bottomrule", "\\end{tabular}", "", "\\footnotesize"]
    parts += [rf"\textsuperscript{{{number}}} {_tex(note)}\par" for number, note in enumerate(table.footnotes, start=1)]
    for section in table.sections:
        parts.append(rf"\textbf{{{_tex(section.title)}}}\par")
        parts += [(rf"\texttt{{{_tex(text)}}}\par" if section.code else rf"{_tex(text)}\par") for text in section.lines]
    return "\n".join([*parts, "\\end{table*}", ""])


def html(table: Table) -> str:
    """A fragment that stands by itself in any page: its style goes no further than its own class, and it loads nothing."""
    from jinja2 import Environment

    template = Environment(autoescape=True).from_string(_HTML)
    return template.render(table=table, rows=list(_with_headings(table)))


def terminal(table: Table) -> RenderableType:
    """What `rich.console.Console.print` shows, laid out for the width of that console."""
    from .terminal import InTerminal

    return InTerminal(table)


def joined(tables: Sequence[Table], form: str) -> str:
    """Tables one after the other in one of `FORMATS`; in CSV the facts of all of them, which must have the same keys."""
    if form == "csv" and tables:
        return csv(replace(tables[0], facts=tuple(fact for table in tables for fact in table.facts)))
    return "\n".join(FORMATS[form](table) for table in tables)


FORMATS: dict[str, Callable[[Table], str]] = {"markdown": markdown, "csv": csv, "latex": latex, "html": html}


def _with_headings(table: Table) -> Iterator[tuple[Row, str]]:
    """Each row with the heading that stands over it, "" where the row before has the same."""
    before = ""
    for row in table.rows:
        yield row, row.group if row.group != before else ""
        before = row.group


def _md(text: str) -> str:
    return re.sub(r"([\\|*_`\[\]])", r"\\\1", text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))


def _md_line(line: Line) -> str:
    text = f"**{_md(line.text)}**" if line.best else _md(line.text)
    return text + (f"<sup>{line.mark_text}</sup>" if line.marks else "")


def _md_row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _inert(value: object) -> object:
    """Texts that a spreadsheet would run as a formula are quoted."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@")) else value


def _tex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)


def _tex_cell(cell: Cell, align: str) -> str:
    lines = [_tex_bold(line) + (rf"\textsuperscript{{{_tex(line.mark_text)}}}" if line.marks else "") for line in cell]
    stacked = r" \\ ".join(lines)
    return stacked if len(lines) == 1 else rf"\shortstack[{align}]{{{stacked}}}"


def _tex_bold(line: Line) -> str:
    return rf"\textbf{{{_tex(line.text)}}}" if line.best else _tex(line.text)
