"""`bench show METHOD --card`: a method's fidelity cards, one for each data set that it was run or published on."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import say
from .output import Format, check_datasets, records_in, write

if TYPE_CHECKING:
    from ...results.fidelity import Original
    from ...results.grid import Table
    from ...results.published import Published
    from ...results.record import Record


def show_cards(name: str, datasets: Sequence[str], out: Path, form: Format | None = None, output: Path | None = None) -> None:
    """Write the cards of `datasets`, or of all that the method has runs of; a line for those that it was only published on."""
    from ...methods.registry import methods
    from ...results.record import RecordError

    card = methods.card(name) if name in methods else _unknown(name)
    published_as = _published_as(name)
    names, per_pixel = [name, *(card.get("variants") or {}).values()], _per_pixel(name, published_as)
    records = records_in(out)
    check_datasets(datasets, records)
    run_on = dict.fromkeys(record.spec["dataset"] for record in records if record.spec["method"] in names)
    cards = [_card(names, published_as, per_pixel, dataset, records, out) for dataset in datasets or run_on]
    if cards:
        write(cards, form, output)
    unrun = [] if datasets else _unrun(published_as, per_pixel, run_on)
    if unrun:
        say(f"published, and without a run in {out}: {', '.join(unrun)}. The first of them: {_command(name, unrun[0], out)}")
    elif not cards:
        raise RecordError(f"{name} was neither published nor run on any data set here. Run it: {_command(name, 'digits', out)}")


def _card(
    names: Sequence[str], published_as: str, per_pixel: bool | None, dataset: str, records: Sequence[Record], out: Path
) -> Table:
    from ...results.fidelity import fidelity_card
    from ...results.fidelity_numbers import numbers_of

    numbers = numbers_of(published_as, dataset, per_pixel=per_pixel)
    original, command = _original(_here(names[0], dataset), dataset, numbers), _command(names[0], dataset, out)
    return fidelity_card(records, dataset, names=names, numbers=numbers, original=original, command=command)


def _unknown(name: str) -> dict[str, Any]:
    from ...datasets.registry import not_found
    from ...methods.registry import methods

    raise not_found("method", name, methods.names(), "bench list methods")


def _published_as(name: str) -> str:
    """The method whose published numbers are meant: that which `name` is a variant of, or itself."""
    from ...methods.registry import methods

    bases = (base for base in methods.names() if name in (methods.card(base).get("variants") or {}).values())
    return next(bases, name)


def _per_pixel(name: str, published_as: str) -> bool | None:
    """Numbers of pixels only for a variant that clusters pixels; else all."""
    return True if name != published_as else None


def _here(name: str, dataset: str) -> str:
    """The method as it works on this data set: itself, or its variant for pixels."""
    from ...datasets.errors import DataError
    from ...datasets.registry import NotFound
    from ..config import method_for
    from ..spec import SpecError

    try:
        return method_for(name, dataset)
    except (SpecError, NotFound, DataError):  # a record of a data set that is not known or not there any more
        return name


def _original(method: str, dataset: str, numbers: Sequence[Published]) -> Original:
    """What the method's card says of the publication and of its presets here."""
    from ...datasets.errors import DataError
    from ...datasets.registry import NotFound
    from ...methods.base import MethodError
    from ...methods.registry import methods
    from ...results.fidelity import Original
    from ..config import resolve
    from ..spec import SpecError
    from .output import leaks

    try:
        config = resolve(method, dataset, "paper").config
    except (SpecError, NotFound, MethodError, DataError):  # nobody published this method on this data set
        config = None
    presets = methods.card(method).get("presets") or {}
    changes = {
        preset: tuple(text for text in content.get("changes") or () if _concerns(text, dataset))
        for preset, content in presets.items()
    }
    return Original(changes, config, leaks().get(method, ()) if numbers else ())


def _concerns(change: str, dataset: str) -> bool:
    """Whether a line of a card is about this data set: unless it begins with the names of others ("digits and usps: ...")."""
    import re

    from ...datasets.catalogue import datasets

    named = re.split(r", | and ", change.partition(":")[0])
    return not all(name in datasets.names() for name in named) or dataset.partition("@")[0] in named


def _unrun(published_as: str, per_pixel: bool | None, run_on: Iterable[str]) -> list[str]:
    """The data sets that the method was published on and that no record here is of."""
    from ...results.fidelity_numbers import PIXELS, method_of
    from ...results.published import published

    numbers = [number for number in published() if method_of(number) == published_as]
    names = [number.our_dataset for number in numbers if per_pixel in (None, number.metric in PIXELS)]
    return [name for name in dict.fromkeys(names) if name not in run_on]


def _command(name: str, dataset: str, out: Path) -> str:
    return shlex.join(["bench", "run", "--method", name, "--dataset", dataset, "--seeds", "3", "--out", str(out)])
