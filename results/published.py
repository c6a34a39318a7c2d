"""The published numbers that ours stand beside: `published.csv`, one row per number, with its source."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

# Names of the papers to names of methods: of ours, and of those that our suites name for the time when they are here. Rows of
# other systems have no method to run.
METHODS = {
    "Random network": "random",
    "Random CNN": "random",
    "K-means": "kmeans",
    "Spectral clustering": "spectral",
    "Triplets": "triplets",
    "AE": "ae",
    "Sparse AE": "sparse-ae",
    "Denoising AE": "denoising-ae",
    "Variational Bayes AE": "vae",
    "SWWAE": "swwae",
    "GAN": "gan",
    "JULE": "jule",
    "DEC": "dec",
    "DAC": "dac",
    "DeepCluster": "deepcluster",
    "ADC": "adc",
    "IIC": "iic",
    "IIC plus finetune": "iic-finetune",
    "SCAN": "scan",
    "IMC-SwAV": "imc-swav",
    "SIFT": "sift",
    "Doersch 2015": "doersch",
    "Isola 2016": "isola",
    "Cutout 2017": "cutout",
}
WITH_LABELS = {  # Table 3: a classifier on what these have learned
    "Exemplar CNN (Dosovitskiy 2015)": "exemplar-finetune",
    "SWWAE": "swwae-finetune",
    "DeepCluster": "deepcluster-finetune",
    "ADC": "adc-finetune",
    "DeepINFOMAX": "dim-finetune",
}
# Both papers insist on training on the training part and reporting on the test part; Table 1 uses all images for both.
SPLIT_PROTOCOL = ("SCAN", "IMC-SwAV")
DATASETS = {"coco-stuff-15": "coco-stuff"}  # where a source has another name for a data set than we


@dataclass(frozen=True)
class Published:
    """One published number.

    Attributes:
        source: paper or page.
        table: number of the table in the IIC paper, "" for a number from elsewhere.
        system: name as the source writes it.
        dataset: name of the data set, mostly ours; see `our_dataset`.
        metric: `acc`, `pixel_acc` and `miou` in percent; `nmi` and `ari` in [0, 1].
        text: the number as printed there ("13.0"), so that no digit is added or lost.
        std_text: the printed spread, "" if there is none.
        aggregate: what the number is: `single`, `best` or `avg` of several runs, `lowest-loss sub-head`, ...
        note: caveats, separated by semicolons.
    """

    source: str
    table: str
    system: str
    dataset: str
    metric: str
    text: str
    std_text: str
    aggregate: str
    note: str

    @property
    def value(self) -> float:
        """The number, in the unit of `metric`."""
        return float(self.text)

    @property
    def std(self) -> float | None:
        """The published spread, in the unit of `metric`."""
        return float(self.std_text) if self.std_text else None

    @property
    def method(self) -> str | None:
        """Name of the method here; None if there is none."""
        return (WITH_LABELS if self.table == "3" and self.system in WITH_LABELS else METHODS).get(self.system)

    @property
    def our_dataset(self) -> str:
        """Name of the data set here."""
        return DATASETS.get(self.dataset, self.dataset)

    @property
    def protocol(self) -> str:
        """`semi-supervised` in Table 3, `split` for the papers that train on train and report on test, else `full`."""
        if self.table == "3":
            return "semi-supervised"
        return "split" if self.system in SPLIT_PROTOCOL else "full"

    @property
    def notes(self) -> tuple[str, ...]:
        """The caveats one by one."""
        return tuple(part.strip() for part in self.note.split(";") if part.strip())


def published(
    *, table: str | int | None = None, system: str | None = None, dataset: str | None = None, metric: str | None = None
) -> list[Published]:
    """The published numbers that agree with everything given, in the order of the file (the papers' order)."""
    wanted = {"table": None if table is None else str(table), "system": system, "dataset": dataset, "metric": metric}
    asked = {name: value for name, value in wanted.items() if value is not None}
    return [row for row in _rows() if all(getattr(row, name) == value for name, value in asked.items())]


@cache
def _rows() -> tuple[Published, ...]:
    path = Path(__file__).with_name("published.csv")
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(
            Published(
                source=row["source"],
                table=row["table"],
                system=row["system"],
                dataset=row["dataset"],
                metric=row["metric"],
                text=row["value"],
                std_text=row["std"],
                aggregate=row["aggregate"],
                note=row["note"],
            )
            for row in csv.DictReader(file)
        )
