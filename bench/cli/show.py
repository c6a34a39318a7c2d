"""`bench show`: everything about one method, data set or suite."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .help import examples
from .options import DataRoot, Out, complete_datasets, complete_names, output_folder
from .output import FormatOption, OutputOption

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import RenderableType

    from ...results.published import Published
    from ..suites import Run, Suite

_TEXTS = ("idea", "needs", "cost", "traps", "leaks", "notes")
_FACTS = (
    *("task", "images", "splits", "shape", "window", "classes", "store", "size_mb", "prepared_mb", "source", "licence"),
    *("citation", "here"),
)
_NAMES = {"size_mb": "download", "prepared_mb": "prepared", "store": "arrays of", "window": "scored window"}


def add_to(app: typer.Typer) -> None:
    lines = ("bench show iic", "bench show mnist", "bench show quick", "bench show iic --card --dataset mnist --out results")
    app.command("show", epilog=examples(*lines))(show)


def show(
    name: Annotated[str, typer.Argument(help="A method, data set or suite.", autocompletion=complete_names)],
    card: Annotated[
        bool,
        typer.Option("--card", help="The method's fidelity card: published and own numbers, every deviation, collapsed seeds."),
    ] = False,
    dataset: Annotated[
        list[str] | None,
        typer.Option("--dataset", "-d", help="With --card: only this one; may be repeated.", autocompletion=complete_datasets),
    ] = None,
    form: FormatOption = None,
    output: OutputOption = None,
    out: Out = None,
    data_root: DataRoot = None,
) -> None:
    """Show a method, data set or suite: what it is, settings, presets, traps, published numbers, and how to run it.

    --card holds the method's runs against what was published: the difference in standard errors for each way to choose an
    epoch, the selection gap, how many seeds collapsed, and everything that was done otherwise.
    """
    from rich.console import Console, Group

    from ...datasets.catalogue import datasets
    from ...datasets.names import parse
    from ...datasets.registry import not_found
    from ...methods.registry import methods
    from ..suites import suites
    from ..terminal import emit

    if card:
        from .fidelity import show_cards

        show_cards(name, dataset or (), output_folder(out), form, output)
        return
    if dataset or out or form or output:
        raise typer.BadParameter("only --card takes these.", param_hint="--dataset, --out, --format, --output")
    if name in methods:
        parts = _of_method(name)
    elif parse(name).base in datasets.names():
        parts = _of_dataset(name, data_root)
    elif name in suites():
        parts = of_suite(suites()[name])
    else:
        raise not_found("name", name, [*methods.names(), *datasets.names(), *suites()], "bench list")
    emit(Console(highlight=False), Group(*parts))


def _of_method(name: str) -> Iterable[RenderableType]:
    from ...methods.registry import methods
    from .settings import settings_of

    method = methods.get(name)
    card = methods.card(name)
    presets: Mapping[str, Any] = card.get("presets") or {}
    yield from _heading(name, card)
    yield _facts({**card, "task": method.task})
    yield from _texts(card)
    yield from _titled("Settings (--set name=value)", _table(("name", "type", "default", "meaning"), settings_of(method.Config)))
    for preset, content in presets.items():
        yield from _titled(f"Preset {preset}", *_of_preset(content))
    yield from _published(method=name)
    usable = [presets.get("short", {}), *presets.values()]  # the one that a command without --preset takes comes first
    known = [dataset for content in usable for dataset in content.get("datasets") or {} if dataset != "default"]
    usual = "potsdam" if method.task == "segmentation" else "digits"
    example = known[0] if known and usual not in known else usual
    labelled = " --protocol semi-supervised" if method.task == "semi-supervised" else ""
    yield from _commands(f"bench run --method {name} --dataset {example}{labelled}")


def _of_preset(content: Mapping[str, Any]) -> Iterable[RenderableType]:
    from ..terminal import yaml_line

    for change in content.get("changes") or ():
        yield _item(change)
    rows = ((dataset, yaml_line(settings or {})) for dataset, settings in (content.get("datasets") or {}).items())
    yield _table(("data set", "settings"), rows)


def _of_dataset(name: str, data_root: Path | None) -> Iterable[RenderableType]:
    from ...datasets.catalogue import datasets
    from ...datasets.places import state

    card = datasets.card(name)
    found = state(name, card, data_root)
    missing = "not found; --download fetches it" if card.get("download") else "not found"
    originals = f"{found.where} (not prepared yet, which the first run does)"
    yield from _heading(name, card)
    yield _facts({**card, "here": {"absent": missing, "originals": originals}.get(found.kind, found.where)})
    if "splits" in card:
        yield from _titled("Protocols (--protocol NAME)", *_of_protocols(card))
    if found.kind == "prepared" and found.where:
        yield from _of_prepared(found.where)
    yield from _texts(card)
    yield from _published(dataset=name)
    download = " --download" if found.kind == "absent" and card.get("download") else ""
    if card.get("task") == "clustering":
        yield from _commands(
            f"bench run --method {_example_method(name)} --dataset {name}{download}", f"bench leaderboard --dataset {name}"
        )
    else:
        yield from _commands(f"bench data prepare {name}{download}")


def _example_method(dataset: str) -> str:
    """IIC where its short preset has settings for the data set, else what takes any images."""
    from ...methods.registry import methods

    return "iic" if dataset in methods.card("iic")["presets"]["short"]["datasets"] else "kmeans"


def _of_protocols(card: Mapping[str, Any]) -> Iterable[RenderableType]:
    from ...datasets.protocols import schemes

    for name, scheme in schemes(card, tuple(card["splits"])).items():
        roles = {"main": scheme.main, "auxiliary": scheme.auxiliary, "mapping": scheme.mapping, "scored": scheme.scored}
        told = "; ".join(f"{role}: {' + '.join(splits)}" for role, splits in roles.items())
        yield _item(f"{name}: {scheme.summary or told}{f' ({told})' if scheme.summary else ''}")


def _of_prepared(folder: str) -> Iterable[RenderableType]:
    """The splits of this copy with their checksums, and the notes that every result on it carries."""
    from pathlib import Path

    from ...datasets.preparation.manifest import read_manifest

    manifest = read_manifest(Path(folder))
    rows = [
        (split, f"{about.count:,}", "yes" if about.verified else "not confirmed", about.images_sha256[:16])
        for split, about in manifest.splits.items()
    ]
    yield from _titled("This copy", _table(("split", "images", "original pixels", "SHA-256 of the pixels"), rows))
    for note in manifest.notes:
        yield _item(note)


def of_suite(suite: Suite) -> Iterable[RenderableType]:
    """A suite: its runs, and what of it this version does not have."""
    yield from _heading(suite.name, {"title": suite.title, "summary": suite.summary})
    yield _facts({"trials": suite.trials}, ("trials",))
    columns = ("row", "methods", "data sets", "seeds", "preset", "protocol", "settings")
    yield from _titled("Runs", _table(columns, map(_run_cells, suite.runs)))
    if suite.unknown:
        yield from _titled("Not in this version", _item(", ".join(suite.unknown)))
    yield from _commands(f"{suite.command()} --dry-run", suite.command())


def _run_cells(run: Run) -> tuple[str, ...]:
    about = {"task": run.task, "clusters": run.clusters, "time_limit": run.time_limit and f"{run.time_limit:g}s"}
    settings = [*run.set_words, *(f"{name}={value}" for name, value in about.items() if value is not None)]
    names = (", ".join(run.methods), ", ".join(run.datasets))
    return (run.label or "", *names, run.seeds_text, run.preset, run.protocol, ", ".join(settings))


def _published(method: str | None = None, dataset: str | None = None) -> Iterable[RenderableType]:
    """What papers report for a method (on every data set) or a data set (by every system)."""
    from ...results.published import published

    rows = [row for row in published(dataset=dataset) if method in (None, row.method)]
    other = "data set" if method else "system"
    cells = (
        (row.dataset if method else row.system, row.metric, _printed(row), row.aggregate, row.source, row.note) for row in rows
    )
    if rows:
        yield from _titled("Published numbers", _table((other, "metric", "value", "aggregate", "source", "note"), cells))


def _printed(row: Published) -> str:
    return f"{row.text} ± {row.std_text}" if row.std_text else row.text


def _heading(name: str, card: Mapping[str, Any]) -> Iterable[RenderableType]:
    from rich.text import Text

    yield Text.assemble((name, "bold cyan"), "  ", (str(card.get("title", "")), "bold"))
    yield Text(str(card.get("summary", "")))
    yield Text()


def _facts(card: Mapping[str, Any], wanted: tuple[str, ...] = _FACTS) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for key in wanted:
        if card.get(key) is not None:
            facts.add_row(_NAMES.get(key, key), Text(_fact(key, card[key])))
    return facts


def _fact(key: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_fact('', each)}" for name, each in value.items())
    if isinstance(value, (list, tuple)):
        return (" x " if key in ("shape", "window") else ", ").join(map(str, value))
    if key in ("size_mb", "prepared_mb"):
        return f"{value:,g} MB"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _texts(card: Mapping[str, Any]) -> Iterable[RenderableType]:
    from rich.text import Text

    for key in _TEXTS:
        text = card.get(key)
        if text:
            yield from _titled(key.capitalize(), *(map(_item, text) if isinstance(text, list) else [Text(str(text).strip())]))


def _item(text: Any) -> RenderableType:
    from rich.padding import Padding
    from rich.text import Text

    return Padding(Text(f"- {text}"), (0, 0, 0, 2))


def _titled(title: str, *parts: RenderableType) -> Iterable[RenderableType]:
    from rich.text import Text

    yield Text()
    yield Text(title, style="bold")
    yield from parts


def _table(columns: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> RenderableType:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, style=None if index else "cyan", no_wrap=not index, overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    return table


def _commands(*commands: str) -> Iterable[RenderableType]:
    from rich.text import Text

    yield from _titled("Run it", *(Text(f"  {command}", style="cyan") for command in commands))
