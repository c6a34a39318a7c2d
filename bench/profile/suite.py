"""`bench profile --suite`: all benchmarks with one command, kept as JSON under the hardware's name."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ...results.files import write_json
from ..devices import available_cores
from ..spec import SpecError
from . import benchmarks
from .every_method import all_steps
from .outcome import Outcome
from .run import hardware
from .where import Where

SCHEMA = 1
SUITE: dict[str, Callable[[Where], Outcome]] = {
    "steps": all_steps,
    "per-image": benchmarks.images_per_second,
    "segmentation-loss": benchmarks.segmentation_loss,
    "search": benchmarks.search,
    "start-up": benchmarks.start_up,
    "scheduling": benchmarks.scheduling,
    "output": benchmarks.output,
    "growth": benchmarks.growing,
}


@dataclass(frozen=True)
class Report:
    """What one machine did.

    Attributes:
        machine: its hardware's name, device, cores, threads, versions, and when the last benchmark ran.
        outcomes: in the order of `SUITE`.
    """

    machine: dict[str, Any]
    outcomes: tuple[Outcome, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"schema": SCHEMA, "machine": self.machine, "benchmarks": [each.as_dict() for each in self.outcomes]}

    def with_earlier(self, earlier: Report) -> Report:
        """This one, and from an earlier one what was not measured again.

        Raises `SpecError` if that is of another machine or in other circumstances: such figures cannot be compared.
        """
        for name in ("hardware", "device", "cores", "threads", "quick", "torch"):
            if earlier.machine[name] != self.machine[name]:
                raise SpecError(
                    f"The file holds figures with {name} {earlier.machine[name]!r}, these have {self.machine[name]!r}: "
                    "name another file with --output."
                )
        found = {each.key: each for each in (*earlier.outcomes, *self.outcomes)}
        return Report(self.machine, tuple(found[key] for key in SUITE if key in found))


def run_suite(where: Where, only: Sequence[str] = (), methods: Sequence[str] = ()) -> Iterator[Outcome]:
    """The benchmarks one after the other, each as soon as it is done.

    Args:
        where: device, threads, data.
        only: names in `SUITE`, all by default.
        methods: of the benchmark `steps`, all that train a network by default.

    Raises:
        SpecError: a name that is not in `SUITE`.
    """
    for name in only:
        if name not in SUITE:
            raise SpecError(f"There is no benchmark {name!r}. There are: {', '.join(SUITE)}.")
    suite = {**SUITE, "steps": partial(all_steps, only=methods)}
    for name in SUITE:
        if not only or name in only:
            yield suite[name](where)


def machine(where: Where) -> dict[str, Any]:
    """The hardware and what else decides its figures; no name of a host or a person."""
    return {
        "hardware": hardware(where.device),
        "device": where.device,
        "cores": available_cores(),
        "threads": where.threads,
        "quick": where.quick,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "measured": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
    }


def read_report(path: Path) -> Report:
    """What `write_report` wrote. Raises `SpecError` if the file holds anything else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            raise SpecError(f"{path} has schema {content['schema']}, this version reads {SCHEMA}.")
        return Report(content["machine"], tuple(Outcome.from_dict(each) for each in content["benchmarks"]))
    except (OSError, ValueError, KeyError, TypeError):
        raise SpecError(f"{path} is no report of bench profile --suite: name another file with --output.") from None


def write_report(path: Path, report: Report) -> None:
    """Keep it, with what an earlier run left in the same file. Raises `SpecError` as `Report.with_earlier` does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, (report.with_earlier(read_report(path)) if path.exists() else report).as_dict())
