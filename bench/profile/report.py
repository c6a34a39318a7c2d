"""What a profile says: figures by name, and as something to look at."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from .ceilings import Ceilings
from .listening import STAGES
from .measuring import Measurement

if TYPE_CHECKING:
    from rich.console import RenderableType

COLUMNS = (
    "method",
    "step ms",
    "bare ms",
    "step / bare",
    "images/s",
    *(f"{stage} %" for stage in STAGES),
    "matrix %",
    "memory MB",
)
NOTES = (
    "step: a whole training step; bare: its networks alone, forward, backward and optimiser, on inputs that are already there; "
    "medians, in turns in one process.",
    "stages: shares of a step whose parts are timed one by one (mean).",
    "matrix: operations of matrix products and convolutions a second in the whole step, of what this device reaches with "
    "square matrices.",
)


@dataclass(frozen=True)
class Profile:
    """The profile of one method on one data set.

    Attributes:
        step_ms, bare_ms: medians over `steps` steps.
        ratio: step_ms / bare_ms.
        images_per_second: images that go through the network, copies counted, by the undivided step.
        stages_ms: mean milliseconds by stage of the divided steps.
        flops: floating-point operations of a step.
        matrix_rate, copy_rate: what the device reaches, in operations and bytes a second.
        matrix_share: flops by the undivided step, of `matrix_rate`; `bare_matrix_share` by the bare step.
        peak_bytes: see `Measurement`.
        timed_by: `processor time` or `wall clock`.
    """

    method: str
    dataset: str
    preset: str
    device: str
    hardware: str
    threads: int
    precision: str
    versions: dict[str, str]
    steps: int
    step_ms: float
    bare_ms: float
    ratio: float
    images_per_second: float
    stages_ms: dict[str, float]
    flops: int
    matrix_rate: float
    copy_rate: float
    matrix_share: float
    bare_matrix_share: float
    peak_bytes: int | None
    timed_by: str

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return asdict(self)


def summarise(measured: Measurement, found: Ceilings, **about: Any) -> Profile:
    """Figures of `measured`; `about` names the fields that say what and where."""
    whole, bare = statistics.median(measured.whole), statistics.median(measured.bare)
    images = statistics.median(measured.images)
    stages = {name: 1000 * statistics.fmean(step.get(name, 0.0) for step in measured.stages) for name in STAGES}
    return Profile(
        **about,
        steps=len(measured.whole),
        step_ms=1000 * whole,
        bare_ms=1000 * bare,
        ratio=whole / bare,
        images_per_second=images / whole,
        stages_ms=stages,
        flops=measured.flops,
        matrix_rate=found.matrix,
        copy_rate=found.copy,
        matrix_share=measured.flops / whole / found.matrix,
        bare_matrix_share=measured.flops / bare / found.matrix,
        peak_bytes=measured.peak_bytes,
    )


def heading(profile: Profile) -> str:
    """`digits, preset short, cpu (AMD EPYC), 1 thread, float32, torch 2.15, by processor time`."""
    threads = f"{profile.threads} thread{'s'[: profile.threads != 1]}"
    versions = ", ".join(f"{name} {version}" for name, version in profile.versions.items())
    return (
        f"{profile.dataset}, preset {profile.preset}, {profile.device} ({profile.hardware}), {threads}, {profile.precision}, "
        f"{versions}, {profile.steps} steps by {profile.timed_by}"
    )


def rows(profiles: Sequence[Profile]) -> list[tuple[str, ...]]:
    """A row of `COLUMNS` for each."""
    return [_row(profile) for profile in profiles]


def _row(profile: Profile) -> tuple[str, ...]:
    total = sum(profile.stages_ms.values())
    return (
        profile.method,
        f"{profile.step_ms:.2f}",
        f"{profile.bare_ms:.2f}",
        f"{profile.ratio:.3f}",
        f"{profile.images_per_second:,.0f}",
        *(f"{100 * profile.stages_ms[stage] / total:.1f}" for stage in STAGES),
        f"{100 * profile.matrix_share:.1f}",
        "-" if profile.peak_bytes is None else f"{profile.peak_bytes / 1e6:,.0f}",
    )


def show(profiles: Sequence[Profile]) -> RenderableType:
    """A table of all with one bar of stages each, and how to read it."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for index, column in enumerate(COLUMNS):
        table.add_column(column, justify="right" if index else "left", no_wrap=not index)
    for row in rows(profiles):
        table.add_row(*row)
    first = profiles[0]
    ceilings = (
        f"this device: {first.matrix_rate / 1e9:,.0f} GFLOP/s in matrix products, {first.copy_rate / 1e9:,.1f} GB/s copying"
    )
    return Group(Text(heading(first), style="bold"), table, *(Text(line, style="dim") for line in (ceilings, *NOTES)))
