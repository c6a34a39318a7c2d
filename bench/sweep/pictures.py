"""Pictures of a sweep, as PNG files beside `sweep.json`. Labels appear in one of them only, and it says so."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .objective import Objective
from .space import Space
from .state import Sample, Sweep
from .study import known_trials

PARALLEL, IMPORTANCE, ACCURACY = "Parallel coordinates", "Importance of the settings", "Objective against accuracy"
FEWEST_FOR_IMPORTANCE = 10  # complete samples; a forest grown on fewer tells noise
DPI = 120


def draw(sweep: Sweep, folder: Path) -> dict[str, str]:
    """Draw what can be drawn: by title the file name, or why there is none."""
    import matplotlib

    backend = matplotlib.get_backend()
    matplotlib.use("Agg")
    try:
        return {title: _drawn(one, sweep, folder) for title, one in _PICTURES.items()}
    finally:
        matplotlib.use(backend)


def parallel_coordinates(sweep: Sweep) -> Any:
    """Every complete sample as a line through its settings; returns the axes, or why it cannot be drawn."""
    from optuna.visualization.matplotlib import plot_parallel_coordinate

    complete = [sample for sample in sweep.having("complete") if not sample.is_preset]
    if len(complete) < 2:
        return f"needs at least 2 complete samples, there are {len(complete)}."
    axes = plot_parallel_coordinate(_study(sweep, complete), params=list(sweep.space), target_name=_title(sweep))
    figure: Any = axes.figure
    figure.set_size_inches(3 + 1.8 * len(sweep.space), 5)
    return axes


def importance(sweep: Sweep) -> Any:
    """How much of the objective's variance each setting explains (functional ANOVA); returns the axes, or why not."""
    from optuna.importance import FanovaImportanceEvaluator
    from optuna.visualization.matplotlib import plot_param_importances

    complete = [sample for sample in sweep.having("complete") if not sample.is_preset]
    if len(complete) < FEWEST_FOR_IMPORTANCE:
        return f"needs at least {FEWEST_FOR_IMPORTANCE} complete samples, there are {len(complete)}."
    if len({sample.objective for sample in complete}) < 2:
        return "the objective is the same for all samples."
    study = _study(sweep, complete)
    return plot_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0), target_name=_title(sweep))


def objective_against_accuracy(sweep: Sweep) -> Any:
    """A point for each sample; returns the axes, or why it cannot be drawn."""
    from matplotlib import pyplot

    if sweep.objective["name"] == "acc":
        return "the objective is ACC itself."
    points = {state: [s for s in sweep.having(state) if s.acc is not None] for state in ("complete", "pruned")}
    if not points["complete"]:
        return "no complete sample has labels."
    figure, axes = pyplot.subplots(figsize=(6, 4.5))
    for state, samples in points.items():
        filled = "tab:blue" if state == "complete" else "none"
        accuracies = [100 * sample.acc for sample in samples if sample.acc is not None]
        objectives: list[Any] = [sample.objective for sample in samples]
        axes.scatter(objectives, accuracies, facecolors=filled, edgecolors="tab:blue", label=f"{state} ({len(samples)})")
    axes.set_xlabel(_title(sweep))
    axes.set_ylabel("ACC % (labels; no part in the search)")
    axes.set_title(f"{sweep.asked['method']} on {sweep.asked['dataset']}: a point is a sample, mean of its seeds")
    axes.legend()
    figure.tight_layout()
    return axes


_PICTURES: dict[str, Callable[[Sweep], Any]] = {
    PARALLEL: parallel_coordinates,
    IMPORTANCE: importance,
    ACCURACY: objective_against_accuracy,
}


def _drawn(one: Callable[[Sweep], Any], sweep: Sweep, folder: Path) -> str:
    from matplotlib import pyplot

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # optuna calls its pictures experimental; matplotlib warns of many open ones
        axes = one(sweep)
        if isinstance(axes, str):
            return axes
        name = f"{one.__name__}.png"
        axes.figure.savefig(folder / name, dpi=DPI, bbox_inches="tight")
        pyplot.close(axes.figure)
    return name


def _study(sweep: Sweep, samples: Sequence[Sample]) -> Any:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    objective = Objective(sweep.objective["name"])
    study = optuna.create_study(direction=objective.direction)
    study.add_trials(known_trials(Space.read(sweep.space), objective, samples))
    return study


def _title(sweep: Sweep) -> str:
    return Objective(sweep.objective["name"]).title
