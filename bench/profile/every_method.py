"""Whole training steps beside bare ones, for every method that trains a network, and for every stage of its training.

A method with several stages is held to their mean, each counted by how many steps of it its preset makes. Stages before the
measured one are cut to as many steps as the measurement of one takes; a step itself is the preset's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...datasets.base import Protocol
from ...datasets.errors import DataError
from ...datasets.registry import NotFound
from ...methods.base import MethodError
from ...methods.kit.autoencoder import PretrainingSettings, parts
from ...methods.registry import methods
from ..cli.plan import Asked, plan
from ..config import resolve
from ..spec import SpecError
from .outcome import Figure, Goal, Outcome
from .report import Profile
from .run import profile_method
from .where import Where

UNTRAINED = ("kmeans", "kmeans-segmentation", "random", "random-segmentation", "sift", "spectral")  # no step to measure
TASKS = {"clustering": "mnist", "segmentation": "potsdam-3@sample", "semi-supervised": "mnist"}  # what each is measured on
QUICK = TASKS | {"clustering": "digits"}
PROTOCOLS: dict[str, Protocol] = {"semi-supervised": "semi-supervised"}  # any other task: full
SHORT, PAPER = 1.15, 1.05  # most that a step may take, as a multiple of the bare one
IMAGES = {"clustering": 8_000, "segmentation": None, "semi-supervised": 8_000}  # so that what happens between epochs stays short
WARM_UP = 8  # steps of a measurement beside those that are measured
# The authors' networks at fewer images a step, where a step takes ten seconds and more on a CPU; the arithmetic of a network is
# then a smaller share of the step, not a larger one. The few pixel images of a sample make epochs of one step: more of them, and
# clusters of fewer pixels between them.
PAPER_STEPS: dict[str, tuple[str, ...]] = {
    "iic": ("batch_pairs=140",),
    "imc-swav": ("batch=32",),
    "scan": ("pretext.batch=32",),
    "swwae": ("batch=32",),
    "triplets": ("batch=64",),
    "deepcluster": ("batch=64",),
    "iic-segmentation": ("batch_pairs=2", "steps=30"),
    "deepcluster-segmentation": ("batch=2", "steps=30", "pixels=2000", "kmeans.pixels=2000"),
    "doersch": ("batch=2", "steps=30", "kmeans.pixels=2000"),
    "isola": ("batch=2", "steps=30", "kmeans.pixels=2000"),
}


@dataclass(frozen=True)
class Stage:
    """A stage of a training: its name, what makes the ones before it short, epochs to pass over, and its steps in the preset."""

    name: str = ""
    settings: tuple[str, ...] = ()
    after_epoch: int = 0
    steps: int = 1


def stages(method: str, config: dict[str, Any], measured: int) -> tuple[Stage, ...]:
    """The stages of a training that measures `measured` steps of one; those of DEC differ in their network and noise.

    Of a classifier on a trunk that another method has trained it is the classifier's, on an untrained trunk: the other method has
    rows of its own.
    """
    if "base_training" in config:
        return (Stage(settings=("base_training=false",)),)
    if method != "dec":
        return (Stage(),)
    pretraining = PretrainingSettings(**config["pretraining"])
    layers = len(config["hidden"]) + 1
    length = 2 * measured + WARM_UP
    cut = tuple(f"pretraining.{name}={length}" for name in ("layer_iterations", "finetune_iterations", "epoch_iterations"))
    made = [sum(part.steps for part in parts(pretraining, layers) if part.layer == layer) for layer in range(layers + 1)]
    names = [*(f"layer {layer}" for layer in range(1, layers + 1)), "all layers"]
    trained = [Stage(name, cut, after, steps) for after, (name, steps) in enumerate(zip(names, made, strict=True))]
    clusters = Stage("clusters", (*cut, f"interval={length}"), layers + 2, config["interval"] * config["most_updates"])
    return (*trained, clusters)


def all_steps(where: Where, only: Sequence[str] = ()) -> Outcome:
    """Every method at its `short` preset and, but in a quick run, at its published one.

    Args:
        where: device, threads, data.
        only: these methods; all that train a network by default.
    """
    names = [name for name in only or methods.names() if name not in UNTRAINED]
    rows, goals = [], []
    for preset in ("smoke",) if where.quick else ("short", "paper"):
        limit = PAPER if preset == "paper" else SHORT
        for name in names:
            found = _rows(where, name, preset)
            rows += found
            ratio = found[-1].get("step / bare") if found else None
            if ratio is not None and not where.quick:
                goals.append(Goal(f"{name}, {preset}, step / bare", float(ratio), limit))
    how = f"{where.about}; medians of {_steps(where)} steps, {_steps(where, 'paper')} at preset paper, whole and bare by turns"
    return Outcome("steps", "A whole training step beside its network's bare one", how, tuple(rows), tuple(goals))


def _steps(where: Where, preset: str = "short") -> int:
    return 3 if where.quick or preset == "paper" else 20


def _rows(where: Where, method: str, preset: str) -> list[dict[str, Figure]]:
    """A row for each stage, and one for their mean if there are several."""
    dataset = (QUICK if where.quick else TASKS)[methods.card(method)["task"]]
    about: dict[str, Figure] = {"method": method, "preset": preset, "data": dataset}
    steps = _steps(where, preset)
    cut = PAPER_STEPS.get(method, ()) if preset == "paper" else ()
    try:
        every = stages(method, resolve(method, dataset, preset).config, steps)
        every = every[:1] if where.quick else every
        found = [(stage, _profile(where, method, dataset, preset, (*cut, *stage.settings), stage, steps)) for stage in every]
    except (DataError, MethodError, NotFound, SpecError) as error:
        return [{**about, "why not": str(error)}]
    changed = {"with": " ".join(cut)} if cut else {}
    rows = [about | {"stage": stage.name or None} | _figures(profile) | changed for stage, profile in found]
    return rows + ([about | _mean(found)] if len(found) > 1 else [])


def _profile(
    where: Where, method: str, dataset: str, preset: str, settings: tuple[str, ...], stage: Stage, steps: int
) -> Profile:
    asked = Asked(
        [method],
        [dataset],
        preset=preset,
        settings=settings,
        protocol=PROTOCOLS.get(methods.card(method)["task"], "full"),
        data_root=where.data_root,
        download=where.download,
    )
    (trial,) = plan(asked, where.progress)
    return profile_method(
        trial.spec,
        trial.data,
        device=where.device,
        steps=steps,
        warm_up=1 if preset == "paper" else 3,
        images=IMAGES[trial.spec.task] if len(trial.data.train) > (IMAGES[trial.spec.task] or 0) else None,
        after_epoch=stage.after_epoch,
        progress=lambda what, done, total: where.progress(f"{method}, {preset} {stage.name}: {what}", done, total),
    )


def _figures(profile: Profile) -> dict[str, Figure]:
    return {
        "step ms": profile.step_ms,
        "bare ms": profile.bare_ms,
        "step / bare": profile.ratio,
        "images/s": profile.images_per_second,
        "matrix %": 100 * profile.matrix_share,
        "precision": profile.precision,
    }


def _mean(found: Sequence[tuple[Stage, Profile]]) -> dict[str, Figure]:
    """Over all steps of a training."""
    steps = sum(stage.steps for stage, _ in found)
    whole, bare = (
        sum(stage.steps * milliseconds for stage, milliseconds in each) / steps
        for each in (
            [(stage, profile.step_ms) for stage, profile in found],
            [(stage, profile.bare_ms) for stage, profile in found],
        )
    )
    return {"stage": f"mean of {steps:,} steps", "step ms": whole, "bare ms": bare, "step / bare": whole / bare}
