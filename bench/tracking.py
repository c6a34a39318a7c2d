"""Many trials in MLflow while they run, without ever standing in their way."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..results.record import Record
from .scheduling.events import Listener, Planned
from .spec import TrialSpec

if TYPE_CHECKING:
    from ..results.mlflow_courier import Courier

OFF = "off"
PATIENCE_S, SILENT_S = 30.0, 2.0
"""How long the end may wait for the last records to arrive, and how long it does so without a word."""


def store_uri(asked: str, out: Path) -> str | None:
    """The tracking URI for what a user asked for: itself, None for `off`, an SQLite file beside the records for ""."""
    from ..results.mlflow_link import default_uri

    return None if asked.strip().lower() == OFF else asked or default_uri(out)


def viewer(uri: str | None) -> str | None:
    """The command that shows what was delivered to `uri`; None where a server shows it, or nothing was."""
    if uri is None or uri.startswith(("http:", "https:", "databricks")):
        return None
    return f"bench ui --mlflow {shlex.quote(uri)}"


class MlflowListener(Listener):
    """A run appears when its trial starts, with parameters and tags, takes its epochs, and is completed by its record.

    A store that is away costs one line. The records are tried again while the driver runs, and what did not arrive by
    its end is named, with the command that delivers it.

    Args:
        uri: MLflow tracking URI, see `store_uri`.
        out: folder of the records.
        title: of the run that the trials are nested in, if they are several; the same title is the same run. None or "" for none.
        experiment: name of the MLflow experiment, by default `clusterbench`.
        say: prints one line for the user; called in the driver's thread only.
        patience_s: seconds that `on_end` may take.
    """

    def __init__(
        self,
        uri: str,
        out: Path,
        *,
        title: str | None = None,
        experiment: str = "",
        say: Callable[[str], None],
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.uri, self.out, self.title, self.experiment = uri, out, title or None, experiment
        self.patience_s = patience_s
        self.refused = False
        self._tell = say
        self._specs: dict[str, TrialSpec] = {}
        self._running: dict[str, Path] = {}
        self._courier: Courier | None = None
        self._ended = False

    @property
    def viewer(self) -> str | None:
        """The command that shows what was delivered; None where a server shows it, or the store refused."""
        return None if self.refused else viewer(self.uri)

    def attach(self, path: Path) -> None:
        """Add a table or figure to the run that the trials are nested in; before `on_end`."""
        self._to().attach(path)

    def on_plan(self, trials: Sequence[Planned]) -> None:
        self.title = self.title if len(trials) > 1 else None
        self.add(trials)

    def add(self, trials: Sequence[Planned]) -> None:
        """Trials that come one after the other, as a sweep draws them; without `on_plan`, which knows all of them."""
        from ..results.mlflow_courier import Delivery

        for trial in trials:
            self._specs[trial.key] = trial.spec
            if trial.done is not None:
                self._to().deliver(Delivery(trial.done.folder))

    def on_start(self, key: str, where: str, attempt: int) -> None:
        from .trial_folder import find_folder

        spec = self._specs[key]
        folder = self._running[key] = find_folder(spec, self.out)
        self._to().begin(key, id=spec.identity(), name=folder.name, spec=spec.model_dump(mode="json"))
        self._mention_refusal()

    def on_epoch(self, key: str, row: Mapping[str, Any]) -> None:
        self._to().epoch(key, dict(row))
        self._mention_refusal()

    def on_finish(self, key: str, record: Record) -> None:
        from ..results.mlflow_courier import Delivery

        self._running.pop(key, None)
        self._to().deliver(Delivery(record.folder, key))
        self._mention_refusal()

    def on_fail(self, key: str, reason: str, log: Path | None) -> None:
        self._over_without_result(key, reason)
        self._mention_refusal()

    def on_end(self) -> None:
        if self._courier is None or self._ended:
            return
        self._ended = True
        for key in list(self._running):
            self._over_without_result(key, None)
        if not self._courier.close(min(SILENT_S, self.patience_s)):
            self._tell(f"delivering {self._courier.waiting} records to MLflow, for up to {self.patience_s:.0f} seconds")
            self._courier.close(self.patience_s - SILENT_S)
        self._name_undelivered(self._courier)

    def _over_without_result(self, key: str, reason: str | None) -> None:
        from ..results.mlflow_courier import Delivery
        from .trial_folder import find_folder

        folder = self._running.pop(key, None) or find_folder(self._specs[key], self.out)
        self._to().deliver(Delivery(folder, key, ended=False, reason=reason))

    def _to(self) -> Courier:
        if self._courier is None:
            from ..results.mlflow_courier import Courier
            from ..results.mlflow_sink import EXPERIMENT, Store

            self._courier = Courier(Store(self.uri, self.experiment or EXPERIMENT), self.title)
        return self._courier

    def _mention_refusal(self) -> None:
        if self._courier and self._courier.refusal and not self.refused:
            self.refused = True
            self._tell(f"{self._courier.refusal} The trials go on, and it is tried again while they do.")

    def _name_undelivered(self, courier: Courier) -> None:
        from ..results.mlflow_courier import in_words
        from ..results.mlflow_link import masked

        left = courier.undelivered()
        self.refused = bool(left)
        if left:
            command = shlex.join(["bench", "import", str(self.out), "--mlflow", masked(self.uri)])
            self._tell(in_words(left[0][1], [folder.name for folder, _ in left], command))
