"""`bench cache`: what trials made for each other, listed and pruned."""

from __future__ import annotations

import json
import sys
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .help import examples
from .options import CacheRoot

if TYPE_CHECKING:
    from ...methods.kit.artefact_files import Artefact
    from ...methods.kit.artefacts import Artefacts

_COLUMNS = ("name", "MB", "made", "used", "what")
_LONGEST_WHAT = 100  # characters of an artefact's facts in the table

cache = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")


class Kind(str, Enum):
    PRETEXT = "pretext"
    FEATURES = "features"
    NEIGHBOURS = "neighbours"
    BASE = "base"


KindOption = Annotated[list[Kind] | None, typer.Option("--kind", "-k", help="Only this kind; may be repeated.")]


def add_to(app: typer.Typer) -> None:
    app.add_typer(
        cache,
        name="cache",
        help="List and prune what trials share: pretext networks, features, neighbours, bases of classifiers.",
        epilog=examples("bench cache list", "bench cache prune --unused-for 30d", "bench cache path"),
    )


@cache.command("path", epilog=examples("bench cache path", "du -sh $(bench cache path)"))
def cache_path(cache_root: CacheRoot = None) -> None:
    """Print the folder: --cache-root, else $CLUSTERBENCH_CACHE, else clusterbench/artefacts in the user's cache."""
    typer.echo(str(_store(cache_root).root.absolute()))


@cache.command(
    "list", epilog=examples("bench cache list", "bench cache list --kind pretext --json", "bench cache list | cut -f1,2")
)
def list_cache(
    kind: KindOption = None,
    cache_root: CacheRoot = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with all that is known of each.")] = False,
) -> None:
    """List the artefacts: name, size, when they were made and last used, and what they are.

    A record lists by name those that its trial took (cost.reused) and made (cost.made).
    """
    store = _store(cache_root)
    entries = _chosen(store, kind)
    if as_json:
        typer.echo(json.dumps([_known(entry) for entry in entries], indent=2, ensure_ascii=False))
    elif sys.stdout.isatty():
        _draw(entries, store)
    else:
        for entry in entries:
            typer.echo("\t".join(_cells(entry)))


@cache.command(
    "prune",
    epilog=examples(
        "bench cache prune --unused-for 30d",
        "bench cache prune --kind features --kind neighbours --yes",
        "bench cache prune --keep 20G",
    ),
)
def prune_cache(
    kind: KindOption = None,
    unused_for: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only what nothing has taken for 12h or 30d.", show_default=False)
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", help="Only as much as needed for the rest to take 500M or 20G, the longest unused first.",
            show_default=False,
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    cache_root: CacheRoot = None,
) -> None:  # fmt: skip
    """Delete artefacts, after asking. Trials that need them make them again; records and results stay.

    Say which by kind, age or size; several conditions must all hold. What a trial is making is left alone.
    """
    from .values import parse_duration, parse_size

    if not (kind or unused_for or keep or everything):
        raise typer.BadParameter("say what to delete: --kind, --unused-for, --keep or --all", param_hint="prune")
    store = _store(cache_root)
    age, most = parse_duration(unused_for, "--unused-for"), parse_size(keep, "--keep")
    doomed = _beyond(_unused(_chosen(store, kind), age), most)
    store.tidy()
    if not doomed:
        typer.echo("nothing to delete")
        return
    typer.echo(f"{_counted(doomed)} to delete in {store.root}:")
    for entry in doomed:
        typer.echo(f"  {entry.name}  {_megabytes(entry.bytes)} MB, used {_ago(entry.used)}")
    if yes or _agreed(f"Delete {_counted(doomed)}?"):
        _delete(store, doomed)


def _store(cache_root: Path | None) -> Artefacts:
    from ...methods.kit.artefacts import Artefacts

    return Artefacts(cache_root)


def _chosen(store: Artefacts, kinds: list[Kind] | None) -> list[Artefact]:
    wanted = {kind.value for kind in kinds or ()}
    return [entry for entry in store.entries() if not wanted or entry.kind in wanted]


def _unused(entries: list[Artefact], seconds: float | None) -> list[Artefact]:
    now = datetime.now(timezone.utc)
    return [entry for entry in entries if seconds is None or (now - entry.used).total_seconds() > seconds]


def _beyond(entries: list[Artefact], most: int | None) -> list[Artefact]:
    """The longest unused that have to go for the others to take at most `most` bytes."""
    if most is None:
        return entries
    doomed, left = [], sum(entry.bytes for entry in entries)
    for entry in sorted(entries, key=lambda entry: entry.used):
        if left <= most:
            break
        doomed.append(entry)
        left -= entry.bytes
    return doomed


def _agreed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise typer.BadParameter("nobody can be asked here; say --yes to delete without asking", param_hint="--yes")
    return typer.confirm(question, err=True)


def _delete(store: Artefacts, doomed: list[Artefact]) -> None:
    from .errors import say

    gone = []
    for entry in doomed:
        if store.remove(entry):
            gone.append(entry)
        else:
            say(f"{entry.name} stays: a trial holds it, or the disk refuses.")
    typer.echo(f"deleted {_counted(gone)}")
    if len(gone) < len(doomed):
        raise typer.Exit(1)


def _counted(entries: list[Artefact]) -> str:
    return f"{len(entries)} artefact{'s'[: len(entries) != 1]} ({_megabytes(sum(entry.bytes for entry in entries))} MB)"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f}"


def _cells(entry: Artefact) -> tuple[str, ...]:
    from ..terminal import yaml_line

    what = yaml_line(dict(entry.facts)) if entry.facts else "damaged"
    return (entry.name, _megabytes(entry.bytes), _ago(entry.created), _ago(entry.used), what)


def _ago(moment: datetime) -> str:
    """`5 min ago`, `3 h ago`, `12 d ago`."""
    seconds = max(0.0, (datetime.now(timezone.utc) - moment).total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit} ago"
    return "just now"


def _known(entry: Artefact) -> dict[str, Any]:
    times = {"created": entry.created.isoformat(), "used": entry.used.isoformat()}
    about = {"kind": entry.kind, "key": entry.key, "bytes": entry.bytes, **times, "facts": dict(entry.facts)}
    return {"name": entry.name, "folder": str(entry.folder.absolute()), **about}


def _draw(entries: list[Artefact], store: Artefacts) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Artefacts", title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column(_COLUMNS[0], style="cyan", no_wrap=True)
    for column in _COLUMNS[1:-1]:
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column(_COLUMNS[-1])
    for entry in entries:
        *cells, what = _cells(entry)
        table.add_row(*cells, Text(what if len(what) <= _LONGEST_WHAT else what[:_LONGEST_WHAT] + "..."))
    told = Text(f"{_counted(entries)} in {store.root}", style="dim")
    Console(highlight=False).print(*([table] if entries else []), told, soft_wrap=not entries)
