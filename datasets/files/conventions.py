"""How people name splits and classes in their own folders and arrays, and what that stands for here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..errors import DataError

ALIASES: Mapping[str, tuple[str, ...]] = {"train": ("train",), "test": ("test",), "unlabeled": ("unlabeled", "unlabelled")}
STANDS_FOR_TEST = ("val", "valid", "validation")  # where there is no test


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """A sort key by which `img2` comes before `img10`: runs of digits count as numbers."""
    pieces = re.split(r"([0-9]+)", text)
    return (*((0, int(piece), "") if piece.isdigit() and piece.isascii() else (1, 0, piece) for piece in pieces), (2, 0, text))


def splits_among(names: Iterable[str], where: Path) -> dict[str, str]:
    """Which of `names` stand for a split: `train`, `test` and `unlabeled`, in this order, to the name that was found.

    Capitals do not matter, and `val` or `valid` stands for `test` if there is no `test`. Empty if no name is one of these.

    Raises:
        DataError: two of them stand for the same split.
    """
    found: dict[str, str] = {}
    there = sorted(names)
    for split, aliases in ALIASES.items():
        candidates = [name for name in there if name.lower() in aliases]
        if split == "test" and not candidates:
            candidates = [name for name in there if name.lower() in STANDS_FOR_TEST]
        if len(candidates) > 1:
            raise DataError(f"{where} holds both {candidates[0]} and {candidates[1]}, which are one split. Keep one of them.")
        if candidates:
            found[split] = candidates[0]
    return found


def is_split_name(name: str) -> bool:
    """Whether `name` may stand for a split in `splits_among`."""
    return name.lower() in {*STANDS_FOR_TEST, *(alias for aliases in ALIASES.values() for alias in aliases)}


def known_order(found: Sequence[str], known: Sequence[str] | None) -> tuple[list[int], tuple[str, ...], tuple[str, ...]]:
    """Which label each class that was found gets.

    Args:
        found: names of the classes in the order in which they were found.
        known: names of the data set's labels 0..C-1, from its card; None if it does not say.

    Returns:
        The label of each class of `found`; the names of the labels 0..C-1; notes. The labels are those of `known` if the
        names are the same but for capitals, spaces and hyphens; otherwise they follow the order of `found`, with a note.
    """
    if known is None:
        return list(range(len(found))), tuple(found), ()
    places = {_plain(name): label for label, name in enumerate(known)}
    if len(found) == len(known) == len(places) and {_plain(name) for name in found} == places.keys():
        return [places[_plain(name)] for name in found], tuple(known), ()
    note = "the classes have other names than those of the data set, and are numbered in the order they were found in"
    return list(range(len(found))), tuple(found), (note,)


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()
