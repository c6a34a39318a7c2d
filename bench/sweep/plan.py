"""From what a command line asks for to a sweep that can be run: everything is checked here, before the first sample starts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...datasets.base import Images
from ...datasets.registry import not_found
from ...methods.base import MethodError
from ...methods.registry import methods
from ..config import Settings, parse_setting, read_config, resolve
from ..spec import SpecError, TrialSpec, canonical_json, make_spec
from ..terminal import yaml_line
from .objective import ORACLES, Objective
from .space import Space, flat_names, read_space
from .state import Sample, Sweep, read_sweep
from .study import SEARCHES, Study

if TYPE_CHECKING:
    from ..cli.plan import Asked, Trial

SCHEDULERS = ("asha", "none")
REDUCTION = 3  # ASHA lets the best third go on at each rung
FOLDER = "sweeps"


@dataclass(frozen=True)
class Ways:
    """How to sweep.

    Attributes:
        samples: how many in all.
        space_file: a user's space; None for the one in the method's card.
        oracle: a labelled score to make as high as possible; None for the method's own criterion.
        search: `optuna` or `random`, with `search_seed`.
        scheduler: `asha` (the bad ones end early) or `none`.
        preset_first: the first sample changes nothing, so that the best one is never worse than the preset by the objective.
    """

    samples: int
    space_file: Path | None = None
    oracle: str | None = None
    search: str = "optuna"
    search_seed: int = 0
    scheduler: str = "asha"
    preset_first: bool = False

    def check(self) -> None:
        """Raise `NotFound` or `SpecError` for what there is not."""
        for kind, asked, known in (("search", self.search, SEARCHES), ("scheduler", self.scheduler, SCHEDULERS)):
            if asked not in known:
                raise not_found(kind, asked, list(known), "bench sweep --help")
        if self.oracle is not None and self.oracle not in ORACLES:
            raise not_found("oracle", self.oracle, list(ORACLES), "bench sweep --help")
        if self.samples < 1:
            raise SpecError(f"A sweep needs at least one sample, got {self.samples}.")


class SweepPlan:
    """A method on a data set, the settings that change, and the ones that stay.

    Args:
        asked: one method, one data set, seeds, and the settings that all samples share.
        ways: how to sweep.
        trials: the trials that `asked` makes with nothing changed, one for each seed.

    Raises:
        SpecError, MethodError, NotFound: a space that the method does not know, or of which it takes nothing.
    """

    def __init__(self, asked: Asked, ways: Ways, trials: Sequence[Trial]) -> None:
        ways.check()
        self.asked, self.ways, self.data = asked, ways, trials[0].data
        self.base = [trial.spec for trial in trials]
        self.objective = Objective(ways.oracle) if ways.oracle else Objective()
        spec = self.base[0]
        self._shared = self._texts(spec.method)
        method = methods.get(spec.method)
        self.space = self._space().without(self._fixed())
        self.space.check(method, spec.method, spec.config)
        self.planned_epochs = method(spec.n_clusters, seed=spec.seed, device="cpu", **spec.config).planned_epochs
        if self.objective.uses_labels and not (np.asarray(self.data.labels) >= 0).any():
            raise SpecError(f"{spec.dataset} has no labels, so no oracle can judge. Leave --oracle out.")
        self._check_combinations()

    def specs(self, settings: Settings) -> list[TrialSpec]:
        """The trials of one sample, one for each seed. Raises `MethodError` for a combination that the method refuses."""
        texts = [*self._shared, *(f"{name}={yaml_line(value)}" for name, value in settings.items())]
        spec, asked = self.base[0], self.asked
        resolved = resolve(spec.method, spec.dataset, asked.preset, None, texts, asked.epochs)
        return [make_spec(resolved, self.data, seed=spec.seed) for spec in self.base]

    def refusal(self, settings: Settings) -> str | None:
        """Why the method does not take this combination; None if it does."""
        try:
            self.specs(settings)
        except MethodError as error:
            return str(error)
        return None

    @cached_property
    def name(self) -> str:
        """Method, data set, preset, and a hash of all that decides what is drawn and how it is judged."""
        spec, ways = self.base[0], self.ways
        deciding = [spec.identity(), [each.seed for each in self.base], self.space.written, self.objective.name]
        text = canonical_json([*deciding, ways.search, ways.search_seed, ways.scheduler, *(["preset"] * ways.preset_first)])
        stem = spec.folder_name().rpartition(f"-s{spec.seed}-")[0]
        return f"{stem}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def folder(self, out: Path) -> Path:
        """Where the sweep lies under the folder of records."""
        return out / FOLDER / self.name

    def open(self, out: Path) -> Sweep:
        """What there is of this sweep already, or a new one."""
        return read_sweep(self.folder(out)) or Sweep(
            name=self.name,
            asked=self._about,
            space=self.space.written,
            objective={
                "name": self.objective.name,
                "direction": self.objective.direction,
                "uses_labels": self.objective.uses_labels,
            },
            search={"name": self.ways.search, "seed": self.ways.search_seed},
            scheduler={"name": self.ways.scheduler, "rungs": list(self.rungs)},
        )

    def study(self, sweep: Sweep) -> Study:
        return Study(self.space, self.objective, self.ways.search, self.ways.search_seed, self.refusal, sweep)

    @property
    def rungs(self) -> tuple[int, ...]:
        """Epochs after which ASHA ends the worse two thirds: a ninth and a third of all; none where that is no epoch."""
        if self.ways.scheduler == "none":
            return ()
        first = max(1, self.planned_epochs // REDUCTION**2)
        return tuple(rung for rung in (first, first * REDUCTION) if rung < self.planned_epochs)

    @property
    def _about(self) -> dict[str, Any]:
        spec = self.base[0].model_dump(mode="json")
        names = ("method", "dataset", "data_fingerprint", "protocol", "n_clusters", "preset", "overrides", "config")
        return {**{name: spec[name] for name in names}, "seeds": [each.seed for each in self.base]}

    def without_images(self) -> SweepPlan:
        """The same plan, small enough to be sent to another process: specs are made of what is known about the data alone."""
        plan, data = copy(self), self.data
        nothing = Images(data.train.pixels[:0].clone())
        none = np.empty(0, dtype=np.int64)
        plan.data = replace(data, train=nothing, score=nothing, labels=none, mapping=None, mapping_labels=None)
        return plan

    def _texts(self, method: str) -> list[str]:
        """Settings of the command line that all samples have; a file's are read once, whatever becomes of it later."""
        asked = self.asked
        file = read_config(asked.config_file, method) if asked.config_file is not None else {}
        clusters = [f"n_clusters={asked.clusters}"] if asked.clusters is not None else []
        return [*(f"{name}={yaml_line(value)}" for name, value in file.items()), *asked.settings, *clusters]

    def _space(self) -> Space:
        if self.ways.space_file is not None:
            return read_space(self.ways.space_file)
        return Space.read(methods.card(self.base[0].method).get("search_space") or {})

    def _fixed(self) -> list[str]:
        """What the command line fixes: it is not swept."""
        names = [name for text in self.asked.settings for name in flat_names(parse_setting(text))]
        return [*names, *(["epochs"] if self.asked.epochs is not None else [])]

    def _check_combinations(self) -> None:
        """Raise if a thousand draws at random hold nothing that the method takes."""
        unused = Sweep(name="", asked={}, space={}, objective={}, search={}, scheduler={})
        if Study(self.space, self.objective, "random", 0, self.refusal, unused).draw(0) is None:
            reason = max(unused.refusals, key=lambda text: unused.refusals[text])
            raise SpecError(f"The method takes no sample of this space. Most often: {reason}")


def settings_text(sample: Sample) -> str:
    """`lr=0.003, repeats=5`; `the preset` for the sample that changes nothing."""
    if sample.is_preset:
        return "the preset"
    return ", ".join(f"{name}={yaml_line(value)}" for name, value in sample.settings.items())
