"""`bench predict`: labels for a folder of images by what a run has learned."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import say
from .help import examples
from .options import CacheRoot, Device, Out, Quiet, output_folder

if TYPE_CHECKING:
    from ..predict import Labeller, Labelling

_EXAMPLES = examples(
    "bench predict iic-digits-short-s0 --input photos --output labels.csv",
    "bench predict bench-results/iic-mnist-short-s0-adcab3b8f223 --input scans --output labels.csv --html sheet.html",
    "bench predict s3 --input photos --output labels.csv --device cpu --out bench-results",
)
NAMED = 3  # bad files that are named one by one


def add_to(app: typer.Typer) -> None:
    app.command("predict", epilog=_EXAMPLES)(predict)


def predict(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A record folder, or a part of its name that no other has.")],
    input_: Annotated[Path, typer.Option("--input", "-i", metavar="FOLDER", help="Folder of images, searched to its depths.")],
    output: Annotated[Path, typer.Option("--output", metavar="FILE.csv", help="Where the labels go.")],
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE.html", help="Also a contact sheet per cluster.")] = None,
    device: Device = "auto",
    out: Out = None,
    cache_root: CacheRoot = None,
    quiet: Quiet = False,
) -> None:
    """Label every image of a folder with a trained run.

    The file has a row for each image: its path in the folder, its cluster, how sure the method is of it (0 to 1, where it says
    so), and, if the run's data had labels, the class that the cluster stood for there. Images are brought to the size and the
    colours that the run was trained on.

    A file that cannot be read has a row with the problem in place of a cluster and stops nothing; the exit code is 1 only if all
    are bad.

    Any number of images of any size will do: they are read, labelled and forgotten a part at a time. The file appears when it is
    whole.
    """
    from rich.console import Console

    from ...methods.kit.artefacts import use_root
    from ..data_progress import DataProgress
    from ..devices import resolve_device, set_threads
    from ..run_lookup import find_run
    from ..terminal import waiting

    for file in filter(None, (output, html)):
        file.parent.mkdir(parents=True, exist_ok=True)  # what cannot be written must not be found out after an hour
    use_root(cache_root)
    progress_to = Console(stderr=True, highlight=False)
    with waiting(progress_to, "loading torch", silent=quiet):
        from ..contact_sheet import per_cluster
        from ..predict import Labeller, label_folder

        set_threads()
        labeller = Labeller(find_run(run, output_folder(out)), resolve_device(device))
    clusters = labeller.record.spec["n_clusters"]
    with DataProgress(progress_to, "predict", quiet=quiet) as progress:
        done = label_folder(
            labeller,
            input_,
            output,
            per_cluster=per_cluster(clusters) if html else 0,
            progress=lambda labelled, bad: progress(f"images labelled, {_bad(bad)}:", labelled, 0),
        )
    _tell(labeller, done, output, quiet)
    if html:
        from ...results.sheet import write
        from ..contact_sheet import sheet_of_folder

        size = write(sheet_of_folder(labeller, done, input_), html)
        say(f"wrote {html} ({size / 1e6:.1f} MB)")
    raise typer.Exit(0 if done.seen.images else 1)


def _tell(labeller: Labeller, done: Labelling, output: Path, quiet: bool) -> None:
    """What came out, on standard output; notes and bad files on standard error."""
    total = int(done.sizes.sum())
    sure = "" if done.confidence is None or not total else f", confidence {done.confidence.sum() / total:.2f} on average"
    used = int((done.sizes > 0).sum())
    spec = labeller.record.spec
    typer.echo(f"{output}: {total:,} images in {used} of {len(done.sizes)} clusters{sure}; {_bad(done.seen.bad)}")
    if not quiet:
        say(f"labelled by {labeller.record.folder.name} ({spec['method']} on {spec['dataset']}, seed {spec['seed']})")
        if labeller.class_names:
            say(f"class: what each cluster stood for on the labelled images of {spec['dataset']} that the run was scored on")
        for note in (*labeller.notes, *done.seen.notes(labeller.shape)):
            say(note)
    for name, problem in done.problems[:NAMED]:
        say(f"bad file {name}: {problem}")
    if done.seen.bad > NAMED:
        say(f"and {_bad(done.seen.bad - NAMED)} more: see the column problem of {output}")


def _bad(files: int) -> str:
    return f"{files:,} bad file{'s'[: files != 1]}"
