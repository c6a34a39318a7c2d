"""A driver that only pretends to run trials, and what it left in a store, read back with MLflow's own client.

Run as a script it writes records into a folder, as a worker does: `python tracking_tools.py OUT FIRST LAST`.
"""

from __future__ import annotations

import atexit
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from clusterbench.bench.scheduling.events import Listener, Planned
from clusterbench.bench.spec import TrialSpec
from clusterbench.results.record import Record, RecordWriter

if TYPE_CHECKING:
    from mlflow.entities import Run

EPOCHS = 3


def spec(seed: int) -> TrialSpec:
    return TrialSpec(
        method="drift", method_version=3, task="clustering", dataset="tiny", data_fingerprint="f00d", protocol="full", seed=seed,
        n_clusters=3, preset="smoke", config={"epochs": EPOCHS, "lr": 0.1},
    )  # fmt: skip


def planned(n: int) -> list[Planned]:
    return [Planned(spec(seed).identity(), spec(seed)) for seed in range(n)]


def row(epoch: int, seed: int = 0) -> dict[str, object]:
    """A row of epochs.jsonl whose accuracy names its trial and epoch."""
    acc = epoch / 10 + seed / 10_000
    return {
        "epoch": epoch, "losses": {"main": [0.5, 0.25]}, "criterion": None, "acc": [acc, 0.2], "nmi": [0.1, 0.2],
        "ari": [0.1, 0.2], "clusters_used": [3, 3], "chosen_head": 0, "train_seconds": 0.5, "evaluate_seconds": 0.1, "images": 60,
    }  # fmt: skip


def begun(out: Path, what: TrialSpec, epochs: int = 0) -> RecordWriter:
    """The record of a trial that has so many epochs behind it and goes on."""
    writer = RecordWriter(out / what.folder_name())
    writer.start(id=what.identity(), spec=what.model_dump(mode="json"), provenance={"git": {"revision": "abc"}})
    for epoch in range(1, epochs + 1):
        writer.append_epoch(row(epoch, what.seed))
    return writer


def finished(writer: RecordWriter) -> Record:
    acc = EPOCHS / 10
    return writer.finish(epochs_done=EPOCHS, metrics={"last": {"acc": acc}, "own-loss": {"acc": acc}, "oracle": {"acc": acc}})


def complete(out: Path, seed: int) -> Record:
    return finished(begun(out, spec(seed), EPOCHS))


def drive(listener: Listener, trials: Iterable[Planned], out: Path, before_the_end: Callable[[], object] = lambda: None) -> None:
    """Run trials one after the other, from their start to their end."""
    for trial in trials:
        writer = begun(out, trial.spec)
        listener.on_start(trial.key, "here", 1)
        for epoch in range(1, EPOCHS + 1):
            writer.append_epoch(row(epoch, trial.spec.seed))
            listener.on_epoch(trial.key, row(epoch, trial.spec.seed))
        before_the_end()
        listener.on_finish(trial.key, finished(writer))


@cache
def _empty_store() -> Path:
    """Making one takes MLflow seconds, copying it does not."""
    from mlflow import MlflowClient

    path = Path(mkdtemp(prefix="clusterbench-tests-")) / "mlflow.db"
    atexit.register(shutil.rmtree, path.parent, ignore_errors=True)
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


def new_store(out: Path) -> str:
    """An empty store in `out`, where the default one is; its address."""
    out.mkdir(parents=True, exist_ok=True)
    source, target = sqlite3.connect(_empty_store()), sqlite3.connect(out / "mlflow.db")
    source.backup(target)
    source.close()
    target.close()
    return f"sqlite:///{out.resolve() / 'mlflow.db'}"


def runs(uri: str) -> list[Run]:
    """All runs that are not deleted, by name."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    found, token = [], None
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    while True:
        page = client.search_runs(ids, page_token=token)
        found += page
        token = page.token
        if not token:
            return sorted(found, key=lambda run: run.info.run_name)


def artefacts(uri: str, run: Run) -> set[str]:
    """The names of the files that a run has at its top or in folders there."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    found = client.list_artifacts(run.info.run_id)
    inside = [file for each in found if each.is_dir for file in client.list_artifacts(run.info.run_id, each.path)]
    return {Path(file.path).name for file in [*found, *inside] if not file.is_dir}


def history(uri: str, run: Run, metric: str = "epochs/acc/0") -> list[tuple[int, float]]:
    from mlflow import MlflowClient

    points = MlflowClient(uri).get_metric_history(run.info.run_id, metric)
    return sorted((point.step, point.value) for point in points)


def wanted_history(seed: int) -> list[tuple[int, float]]:
    return [(epoch, epoch / 10 + seed / 10_000) for epoch in range(1, EPOCHS + 1)]


if __name__ == "__main__":
    folder, first, last = sys.argv[1:]
    for number in range(int(first), int(last)):
        complete(Path(folder), number)
        print(number, flush=True)
