"""Renderers: everything that stands in the table comes out, escaped."""

from __future__ import annotations

import csv as csv_module
import io
import re
import xml.etree.ElementTree as ElementTree

import pytest
from rich.console import Console

from clusterbench.results.grid import Footnotes, Line, Row, Section, Table, duration, line, percent
from clusterbench.results.render import FORMATS, csv, html, joined, latex, markdown, terminal

NASTY = "a|b <script>alert(1)</script> & 50% $x_1^2$ #[red]{y}~\\ *z* `c`"


@pytest.fixture
def table() -> Table:
    ours = (Line("59.6", (1,), "published"), Line("86.1 ± 2.0", (1, 2), "ours"), Line("short, n=5", (), "detail"))
    return Table(
        title="Title",
        caption="How to read it.",
        columns=("Method", "mnist"),
        rows=(
            Row((line("IIC"), ours), "first group"),
            Row((line(NASTY), line("-")), "first group"),
            Row((line("DEC"), line("7")), "second"),
        ),
        footnotes=("One.", NASTY),
        sections=(Section("To fill", ("bench run --method x_y",), code=True), Section("Notes", (NASTY,))),
        facts=({"name": NASTY, "value": 0.1}, {"name": "=1+1", "value": None}, {"name": "two\nlines", "value": -3.5}),
    )


def printed(table: Table, width: int = 200) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    console.print(terminal(table))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("render", [markdown, latex, html, printed])
def test_every_renderer_shows_the_parts_in_order(table: Table, render: object) -> None:
    assert callable(render)
    text = str(render(table))
    places = [
        text.find(part)
        for part in ("Title", "first group", "IIC", "59.6", "86.1", "short, n=5", "DEC", "One.", "To fill", "Notes")
    ]
    assert -1 not in places and places == sorted(places)


@pytest.mark.parametrize("render", [markdown, latex, html, printed])
def test_a_heading_stands_once_over_its_rows(table: Table, render: object) -> None:
    assert callable(render)
    assert str(render(table)).count("first group") == 1


def test_markdown_cannot_be_broken_by_a_name(table: Table) -> None:
    text = markdown(table)
    rows = [row for row in text.splitlines() if row.startswith("|")]
    cells = [re.split(r"(?<!\\)\|", row)[1:-1] for row in rows]
    assert {len(row) for row in cells} == {2}
    assert "<script>" not in text and "86.1 ± 2.0<sup>†1,2</sup>" in text
    assert "```sh\nbench run --method x_y\n```" in text


def test_html_is_well_formed_and_holds_no_foreign_markup(table: Table) -> None:
    text = html(table)
    root = ElementTree.fromstring(text)
    assert not list(root.iter("script"))
    assert NASTY in ["".join(cell.itertext()) for cell in root.iter("th")]
    assert [mark.text for mark in root.iter("sup")] == ["1", "†1,2"]
    assert "http" not in text and "src=" not in text


def test_html_names_rows_and_columns_for_screen_readers(table: Table) -> None:
    root = ElementTree.fromstring(html(table))
    assert [cell.get("scope") for cell in root.iter("th")].count("col") == 2
    assert [cell.get("scope") for cell in root.iter("th")].count("row") == 3


def test_latex_escapes_what_tex_would_read(table: Table) -> None:
    text = latex(table)
    assert r"a\textbar{}b \textless{}script\textgreater{}alert(1)" in text
    assert r"\& 50\% \$x\_1\textasciicircum{}2\$" in text
    assert r"\#[red]\{y\}\textasciitilde{}\textbackslash{}" in text
    assert r"86.1 $\pm$ 2.0\textsuperscript{$\dagger$1,2}" in text
    body = text[text.index("\\midrule") : text.index("\\bottomrule")]
    rows = [row for row in body.splitlines() if "&" in row]
    assert len(rows) == 3 and all(len(re.findall(r"(?<!\\)&", row)) == 1 for row in rows)
    assert text.count("\\begin{") == text.count("\\end{") == 2
    assert re.sub(r"\\[{}]", "", text).count("{") == re.sub(r"\\[{}]", "", text).count("}")


@pytest.mark.parametrize(
    ("form", "bold", "plain"),
    [
        ("markdown", "**97.5**<sup>†1</sup>", "| 96.2 |"),
        ("latex", r"\textbf{97.5}\textsuperscript", "& 96.2 "),
        ("html", '<div class="ours best">97.5', '<div class="ours">96.2'),
    ],
)
def test_bold_is_for_the_best_alone(form: str, bold: str, plain: str) -> None:
    row = Row((line("IIC"), (Line("97.5", (1,), "ours", best=True),), (Line("96.2", (), "ours"),)))
    text = FORMATS[form](Table("t", "c", ("Method", "mnist", "usps"), (row,), ("One.",)))
    assert bold in text and plain in text


def test_the_terminal_prints_the_best_alone_in_bold() -> None:
    row = Row((line("IIC"), (Line("97.5", (), "ours", best=True),), (Line("96.2", (), "ours"),)))
    console = Console(width=80, file=io.StringIO(), force_terminal=True, color_system="standard", no_color=False)
    console.print(terminal(Table("t", "c", ("Method", "mnist", "usps"), (row,))))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "\x1b[1m97.5" in text and "\x1b[1m96.2" not in text


def test_several_tables_follow_each_other_and_share_one_header_in_csv(table: Table) -> None:
    rows = list(csv_module.DictReader(io.StringIO(joined([table, table], "csv"))))
    assert len(rows) == 2 * len(table.facts)
    assert joined([table, table], "markdown").count("### Title") == 2
    assert joined([], "csv") == ""


def test_csv_gives_the_facts_back(table: Table) -> None:
    rows = list(csv_module.DictReader(io.StringIO(csv(table))))
    assert [row["value"] for row in rows] == ["0.1", "", "-3.5"]
    assert rows[0]["name"] == NASTY and rows[2]["name"] == "two\nlines"
    assert rows[1]["name"] == "'=1+1"  # a spreadsheet must not compute it


def test_a_table_without_facts_is_an_empty_file() -> None:
    assert csv(Table("t", "c", ("Method",), ())) == ""


def test_the_terminal_prints_names_as_they_are(table: Table) -> None:
    text = printed(table)
    assert NASTY in text and "86.1 ± 2.0 †1,2" in text


@pytest.mark.parametrize("width", [40, 80])
def test_a_narrow_terminal_loses_nothing(table: Table, width: int) -> None:
    text = printed(table, width)
    assert max(map(len, text.splitlines())) <= width
    for part in ("59.6", "86.1", "†1,2", "Method", "mnist"):
        assert part in text


@pytest.mark.parametrize(("width", "lines"), [(80, 1), (30, 2)])
def test_a_command_is_whole_where_there_is_room_and_never_cut_off(width: int, lines: int) -> None:
    command = "bench run --method imc-swav --dataset cifar100-20"
    listed = Table("t", "c", ("Method",), (), sections=(Section("To fill", (command,), code=True),))
    shown = [text.strip() for text in printed(listed, width).splitlines()]
    assert " ".join(shown[-lines:]) == command


def test_parts_under_different_headings_are_aligned(table: Table) -> None:
    lines = printed(table).splitlines()
    headings = [text for text in lines if text.startswith("Method")]
    assert len(headings) == 2 and headings[0] == headings[1]


def test_an_empty_table_is_rendered_by_all(table: Table) -> None:
    empty = Table("Nothing yet", "No runs.", ("Method", "mnist"), ())
    for render in FORMATS.values():
        assert isinstance(render(empty), str)
    assert "Nothing yet" in printed(empty)


def test_footnotes_are_numbered_once() -> None:
    footnotes = Footnotes()
    assert footnotes.marks("b", "a") == (1, 2)
    assert footnotes.marks("c", "a", "a") == (2, 3)
    assert footnotes.texts == ("b", "a", "c")


@pytest.mark.parametrize(("seconds", "text"), [
    (None, "-"), (0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (118.4, "1 min 58 s"),
    (3599.7, "1 h 00 min"), (3900, "1 h 05 min"), (360_000, "100 h 00 min"),
])  # fmt: skip
def test_durations_are_short(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_shares_are_printed_in_percent() -> None:
    assert (percent(0.8612), percent(1.0), percent(None), percent(-0.004)) == ("86.1", "100.0", "-", "-0.4")
