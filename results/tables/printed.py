"""The published half of a cell: numbers as printed, and what must be known beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..published import Published
from .caveats import caveats
from .rows import SHARES, Entry


@dataclass(frozen=True)
class Printed:
    """A published line of a cell.

    Attributes:
        text: the number, with its spread and what it is of several runs.
        numbers: the published numbers that it stands for; more than one where a later page gives the same.
        notes: caveats that are not those of the whole row.
    """

    text: str
    numbers: tuple[Published, ...]
    notes: tuple[str, ...]


def unit(metric: str) -> str:
    """`share` for what is printed in [0, 1], else `%`."""
    return "share" if metric in SHARES else "%"


def label_notes(entry: Entry) -> tuple[str, ...]:
    """Caveats of every number in the row, and where the numbers are from if not from the IIC paper."""
    return (*_source(entry), *_common(entry))


def lines(entry: Entry, dataset: str) -> list[Printed]:
    """The published lines of a cell; means before bests, the paper's table before later pages."""
    shown: dict[str, list[Published]] = {}
    for number in sorted(entry.published_on(dataset), key=_order):
        known = next((text for text in shown if text == _text(number) or text == number.text), None)
        shown.setdefault(known or _later(entry, number), []).append(number)
    return [_line(entry, text, numbers) for text, numbers in shown.items()]


def fact(number: Published) -> dict[str, Any]:
    """What a machine should know of one number."""
    return {
        "kind": "published",
        "source": number.source,
        "value": number.value,
        "std": number.std,
        "std_over": None if number.std is None else "sub-heads",
        "protocol": number.protocol,
        "notes": " ".join([f"{number.aggregate}.", *caveats(number)]),
    }


def _order(number: Published) -> tuple[bool, bool]:
    return not number.table, number.aggregate == "best"


def _line(entry: Entry, text: str, numbers: list[Published]) -> Printed:
    first, *same = numbers
    notes = [note for note in caveats(first) if note not in _common(entry)]
    notes += [f"The {number.source} gives the same." for number in same]
    notes += [note for number in same for note in caveats(number) if note not in notes and note not in _common(entry)]
    if first.source != entry.numbers[0].source:
        notes.append(f"From the {first.source}.")
    return Printed(text, tuple(numbers), tuple(notes))


def _text(number: Published) -> str:
    spread = f" ± {number.std_text}" if number.std_text else ""
    aggregate = f" {number.aggregate}" if number.aggregate in ("avg", "best") else ""
    return f"{number.text}{spread}{aggregate}"


def _later(entry: Entry, number: Published) -> str:
    """The text of a number; one that only a later page of the same authors has says so."""
    is_later = not number.table and bool(entry.numbers[0].table)
    return f"{_text(number)} page" if is_later else _text(number)


def _common(entry: Entry) -> tuple[str, ...]:
    """What holds for every number in the row, numbers of later pages aside."""
    if not entry.numbers:
        return ()
    own = [caveats(number) for number in entry.numbers if bool(number.table) == bool(entry.numbers[0].table)]
    if len({number.our_dataset for number in entry.numbers}) < 2:
        return ()  # a single cell keeps its notes
    return tuple(note for note in own[0] if all(note in notes for notes in own))


def _source(entry: Entry) -> tuple[str, ...]:
    if not entry.numbers or entry.numbers[0].table:
        return ()
    sources = " and the ".join(dict.fromkeys(number.source for number in entry.numbers))
    how = ": trained on the training part, reported on the test part (protocol split)" if entry.protocol == "split" else ""
    return (f"From the {sources}{how}.",)
