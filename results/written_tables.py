"""Tables that `bench tables` and `bench leaderboard` wrote, read back as the numbers that a reader takes from them."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .grid import NONE
from .published import SPLIT_PROTOCOL

OVER_HEADS = "sub-heads"
_TABLE_COLUMNS = {"table", "row", "dataset", "kind", "value", "std", "n", "protocol"}
_BOARD_COLUMNS = {"dataset", "protocol", "method", "preset", "n", "acc", "acc_std", "acc_best"}
_BOARD_HEADINGS = ["Method", "Budget", "n", "ACC", "Best"]
_OURS = re.compile(r"(?:ours )?([\d.]+)(?: ± ([\d.]+))?$")
_SETTING = re.compile(r"([^,]+), ([^,]+), n=(\d+)(?:, best ([\d.]+))?")
_TITLE = re.compile(r"### .*?Table (\d)")
_RANKING = re.compile(r"([^,]+), protocol ([^,]+)")


@dataclass(frozen=True)
class Shown:
    """One of our numbers in a table.

    Attributes:
        where: its row and column, for people.
        dataset, protocol, preset, n: as the table says.
        method: its name here, "" where the table has only the row's label.
        metric: `acc`, `nmi`, ...
        value, std, best: as printed, in the unit of the table (percent; NMI and ARI also in [0, 1]); None if not there.
        std_over: `seeds` or `sub-heads`.
        rounding: half a unit of the last digit that is printed.
        expected: the protocol of the published numbers in its row; "" where it stands beside none.
    """

    where: str
    dataset: str
    protocol: str
    preset: str
    n: int
    method: str
    metric: str
    value: float
    std: float | None
    best: float | None
    std_over: str
    rounding: float
    expected: str


@dataclass(frozen=True)
class Written:
    """What one file shows: our numbers, and by row the columns that have none."""

    path: Path
    numbers: tuple[Shown, ...]
    empty: Mapping[str, tuple[str, ...]]


def read_tables(folder: Path) -> Iterator[Written]:
    """The tables that we wrote, in `folder` and below it; other files and the folders of records are passed over."""
    for path in sorted(folder.rglob("*")):
        readers = {".csv": _read_csv, ".md": _read_markdown}
        if path.suffix not in readers or (path.parent / "record.json").exists():
            continue
        found = readers[path.suffix](path)
        if found is not None:
            yield found


def _read_csv(path: Path) -> Written | None:
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        reader = csv.DictReader(file)
        columns, rows = set(reader.fieldnames or ()), list(reader)
    if columns >= _TABLE_COLUMNS:
        return _table_facts(path, rows)
    if columns >= _BOARD_COLUMNS:
        return Written(path, tuple(_board_fact(row) for row in rows if row["acc"]), {})
    return None


def _table_facts(path: Path, rows: list[dict[str, str]]) -> Written:
    published: dict[tuple[str, str, str], str] = {}
    for row in rows:
        if row["kind"] == "published":
            published[_cell(row)] = row["protocol"]
    by_row = {cell[:2]: protocol for cell, protocol in published.items()}
    ours = [row for row in rows if row["kind"] == "reproduced"]
    numbers = tuple(_table_fact(row, by_row.get(_cell(row)[:2], "")) for row in ours if row["value"])
    filled = set(map(_cell, ours))
    runnable = {_cell(row)[:2] for row in rows if row.get("method")}
    empty: dict[str, tuple[str, ...]] = {}
    for cell in published:
        if cell not in filled and cell[:2] in runnable:
            empty[cell[1]] = _with(empty.get(cell[1], ()), cell[2])
    return Written(path, numbers, empty)


def _cell(row: Mapping[str, str]) -> tuple[str, str, str]:
    """Table and metric, row, data set."""
    return f"{row['table']} {row.get('metric', '')}", row["row"], row["dataset"]


def _table_fact(row: Mapping[str, str], expected: str) -> Shown:
    return Shown(
        where=f"Table {row['table']}, {row['row']} on {row['dataset']}",
        dataset=row["dataset"],
        protocol=row["protocol"],
        preset=row["preset"],
        n=int(row["n"]),
        method=row["method"],
        metric=row.get("metric") or "acc",
        value=float(row["value"]),
        std=_number(row["std"]),
        best=_number(row.get("best", "")),
        std_over=row.get("std_over") or "seeds",
        rounding=0.0,
        expected=expected,
    )


def _board_fact(row: Mapping[str, str]) -> Shown:
    return Shown(
        where=f"leaderboard, {row['method']} on {row['dataset']}",
        dataset=row["dataset"],
        protocol=row["protocol"],
        preset=row["preset"],
        n=int(row["n"]),
        method=row["method"],
        metric="acc",
        value=float(row["acc"]),
        std=_number(row["acc_std"]),
        best=_number(row["acc_best"]),
        std_over="seeds",
        rounding=0.0,
        expected="",
    )


def _read_markdown(path: Path) -> Written | None:
    """All tables of a file: a line of headings before a line of dashes begins one."""
    numbers: list[Shown] = []
    empty: dict[str, tuple[str, ...]] = {}
    is_ours, title, headings, ranking, before = False, "", [], "", []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        title = line if line.startswith("#") else title
        if not line.startswith("|"):
            headings = []
            continue
        cells = _cells(line)
        if all(re.fullmatch(r":?-+:?", cell) for cell in cells):
            headings = before
            is_ours |= _is_board(headings) or bool(_TITLE.match(title))
        elif _is_board(headings):
            ranking = _plain(cells[0]) if not any(cells[1:]) else ranking
            numbers += _board_row(dict(zip(headings, cells, strict=False)), ranking) if any(cells[1:]) else []
        elif headings and (table := _TITLE.match(title)):
            label = _plain(cells[0])
            found = [_table_cell(table[1], label, name, cell) for name, cell in zip(headings[1:], cells[1:], strict=False)]
            numbers += [shown for shown in found if shown]
            lacking = [name for name, cell in zip(headings[1:], cells[1:], strict=False) if _lacks_run(cell)]
            empty |= {label: _with(empty.get(label, ()), *lacking)} if lacking else {}
        before = [_plain(cell) for cell in cells]
    return Written(path, tuple(numbers), empty) if is_ours else None


def _is_board(headings: list[str]) -> bool:
    return set(_BOARD_HEADINGS) <= set(headings)


def _lacks_run(cell: str) -> bool:
    """Whether a published number stands alone in a cell."""
    first, *others = cell.split("<br>")
    return first != NONE and "no run" in others


def _with(names: tuple[str, ...], *more: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*names, *more]))


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def _plain(text: str) -> str:
    """A line of a cell without marks, bold type and escapes."""
    text = re.sub(r"<sup>.*?</sup>", "", text).strip().removeprefix("**").removesuffix("**")
    return re.sub(r"\\(.)", r"\1", text).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _table_cell(table: str, label: str, dataset: str, cell: str) -> Shown | None:
    """Our number in a cell of Tables 1 to 4: the line above the one that names the setting, or that with the interval."""
    lines = [_plain(line) for line in cell.split("<br>")]
    place = next((index for index, line in enumerate(lines) if _SETTING.match(line)), None)
    ours = next((_OURS.match(line) for line in reversed(lines[:place]) if _OURS.match(line)), None) if place else None
    if place is None or ours is None:
        return None
    setting = _SETTING.match(lines[place])
    assert setting is not None
    preset, protocol, n, best = setting.groups()
    expected = "semi-supervised" if table == "3" else "split" if label.startswith(SPLIT_PROTOCOL) else "full"
    return Shown(
        where=f"Table {table}, {label} on {dataset}",
        dataset=dataset,
        protocol=protocol,
        preset=preset,
        n=int(n),
        method="",
        metric="acc",
        value=float(ours[1]),
        std=_number(ours[2]),
        best=_number(best),
        std_over=OVER_HEADS if OVER_HEADS in label else "seeds",
        rounding=_half_a_digit(ours[1]),
        expected=expected,
    )


def _board_row(row: Mapping[str, str], ranking: str) -> list[Shown]:
    acc = _OURS.match(_plain(row["ACC"].split("<br>")[0]))
    named = _RANKING.match(ranking)
    if acc is None or named is None:
        return []
    method, best = _plain(row["Method"]), _plain(row["Best"])
    return [
        Shown(
            where=f"leaderboard, {method} on {named[1]}",
            dataset=named[1],
            protocol=named[2],
            preset=_plain(row["Budget"]),
            n=int(row["n"]),
            method=method,
            metric="acc",
            value=float(acc[1]),
            std=_number(acc[2]),
            best=None if best == NONE else _number(best),
            std_over="seeds",
            rounding=_half_a_digit(acc[1]),
            expected="",
        )
    ]


def _number(text: str | None) -> float | None:
    return float(text) if text else None


def _half_a_digit(text: str) -> float:
    """0.05 for `97.5`."""
    return 0.5 * 10.0 ** -len(text.partition(".")[2])
