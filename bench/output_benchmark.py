"""How long the tables and the leaderboard page take with many runs on record.

    python -m clusterbench.bench.output_benchmark --records 10000

Writes synthetic records of the sizes that real ones have (methods x data sets x protocols x budgets, ten seeds each) into a
temporary folder, times `bench tables all` and `bench leaderboard --html` as a user runs them, start-up included, and, where
Playwright and a Chromium are here, the first view of the page.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import itertools
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .page_picture import FIRST_ROW, find_browser, opened

METHODS = (
    *("iic", "kmeans", "random", "scan", "imc-swav", "dec", "deepcluster", "spectral", "triplets"),
    *("ae", "sparse-ae", "denoising-ae", "vae", "swwae", "gan", "jule", "dac", "adc"),
)
DATASETS = (
    "digits",
    "mnist",
    "fashion-mnist",
    "usps",
    "cifar10",
    "cifar100-20",
    "stl10",
    "tiny-imagenet",
    "imagenet-50",
    "cifar100",
)
PROTOCOLS, PRESETS = ("full", "split"), ("paper", "short", "smoke")
SEEDS, EPOCHS, HEADS, IMAGES, CLUSTERS = 10, 40, 5, 1797, 10
COMMAND = f"from {__package__}.cli import main; raise SystemExit(main())"


def write_records(folder: Path, n: int) -> None:
    """Write `n` synthetic records under `folder`; the same ones every time."""
    random = np.random.default_rng(0)
    labels = [_labels(random, 0.5 + 0.05 * place) for place in range(10)]
    for number, spec in enumerate(itertools.islice(_specs(), n)):
        record_id = hashlib.sha256(json.dumps(spec).encode()).hexdigest()[:12]
        name = f"{spec['method']}-{spec['dataset']}-{spec['preset']}-s{spec['seed']}-{record_id}"
        own = folder / name
        own.mkdir(parents=True)
        acc = float(np.clip(_skill(spec) + random.normal(0, 0.02), 0, 1))
        (own / "record.json").write_text(json.dumps(_record(record_id, spec, acc), indent=2))
        (own / "epochs.jsonl").write_text("".join(json.dumps(_epoch(epoch, acc)) + "\n" for epoch in range(1, EPOCHS + 1)))
        (own / "labels.npz").write_bytes(labels[number % len(labels)])
        (own / "config.yaml").write_text("epochs: 40\n")


def first_view(page: Path, browser: str) -> float:
    """Seconds from opening the page to its first row on the screen, in a browser that has already started."""
    with opened(browser) as window:
        tab = window.new_page()
        began = time.perf_counter()
        tab.goto(page.as_uri(), wait_until="commit")
        tab.wait_for_selector(FIRST_ROW)
        return time.perf_counter() - began


@dataclass(frozen=True)
class Ran:
    """One command: seconds on the wall, seconds of processor time, and what it said where it failed, else ""."""

    seconds: float
    computed: float
    failure: str


def measured(records: int, folder: Path) -> tuple[Ran, Ran, Path]:
    """`bench tables all` and `bench leaderboard --html` of so many synthetic records, written into `folder`; and the page."""
    out, page = folder / "records", folder / "board.html"
    write_records(out, records)
    tables = run("tables", "all", "--out", str(out), "--output", str(folder / "tables.md"))
    return tables, run("leaderboard", "--out", str(out), "--html", str(page)), page


def run(*words: str) -> Ran:
    """`bench` with these words in a process of its own."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    ran = subprocess.run([sys.executable, "-c", COMMAND, *words], capture_output=True, text=True, check=False)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    computed = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    said = (ran.stderr.strip().splitlines() or ["no message"])[-1]
    return Ran(seconds, computed, f"ended with {ran.returncode}: {said}" if ran.returncode else "")


def main() -> None:
    """Print the times, their processor time, and the size of the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tables, board, page = measured(options.records, Path(folder))
        print(f"{options.records:,} records")
        for title, ran in (("bench tables all", tables), ("bench leaderboard --html", board)):
            print(f"{title:28}{ran.seconds:8.2f} s, of it {ran.computed:.2f} s of processor time")
            if ran.failure:
                print(f"  {ran.failure}")
        if not board.failure:
            print(f"{'the page':28}{page.stat().st_size / 1e6:8.1f} MB")
            _print_first_view(page)


def _print_first_view(page: Path) -> None:
    browser = find_browser()
    if browser is None:
        print("the first view was not timed: no Chromium; name one in $CLUSTERBENCH_CHROMIUM")
        return
    try:
        print(f"{'first view':28}{first_view(page, browser):8.2f} s")
    except ImportError:
        print("the first view was not timed: Playwright is not installed")


def _specs() -> Iterator[dict[str, Any]]:
    settings = itertools.product(DATASETS, PROTOCOLS, PRESETS, METHODS)
    for (dataset, protocol, preset, method), seed in itertools.product(settings, range(SEEDS)):
        config = {"epochs": EPOCHS, "lr": 0.002, "network": "small", "widths": [16, 32, 64], "views": {"size": 16, "crop": 8}}
        yield {
            "method": method,
            "method_version": 1,
            "task": "clustering",
            "dataset": dataset,
            "data_fingerprint": "0" * 64,
            "protocol": protocol,
            "seed": seed,
            "n_clusters": CLUSTERS,
            "preset": preset,
            "overrides": {},
            "config": config,
            "time_limit_s": None,
        }


def _skill(spec: dict[str, Any]) -> float:
    """A method's true accuracy on a data set: better with more budget, worse on later data sets."""
    return (
        0.95
        - 0.03 * METHODS.index(spec["method"])
        - 0.02 * DATASETS.index(spec["dataset"])
        - 0.05 * PRESETS.index(spec["preset"])
    )


def _record(record_id: str, spec: dict[str, Any], acc: float) -> dict[str, Any]:
    scores = {name: acc - 0.01 * place for place, name in enumerate(("acc", "many_to_one_acc", "nmi", "ari", "ami", "purity"))}
    heads = {"n": HEADS, "acc": [acc] * HEADS} | {
        f"{name}_{kind}": 0.5 for name in ("acc", "nmi", "ari") for kind in ("mean", "std")
    }
    selection = {**scores, "clusters_used": CLUSTERS, "epoch": EPOCHS, "head": 0, "heads": heads}
    packages = {f"package-{number}": f"{number}.0.1" for number in range(12)}
    data = {"name": spec["dataset"], "n_classes": CLUSTERS, "class_names": [str(each) for each in range(CLUSTERS)], "notes": []}
    return {
        "schema": 1, "id": record_id, "status": "complete", "created": "2026-01-01T10:00:00.000+00:00", "finished": None,
        "spec": spec, "metrics_version": 1, "metrics": dict.fromkeys(("last", "own-loss", "oracle"), selection),
        "mapping": {"kind": "hungarian", "on": ["train"]}, "selection_gap": 0.0, "epochs_done": EPOCHS, "planned_epochs": EPOCHS,
        "cost": {"train_seconds": 60 * acc, "evaluate_seconds": 1.0, "total_seconds": 60 * acc + 1, "images": 3_000_000},
        "provenance": {"python": "3.11", "packages": packages, "cpu": "a processor", "threads": 2, "device": "cpu", "data": data,
                       "command": f"bench run --method {spec['method']} --dataset {spec['dataset']} --seeds {SEEDS}"},
    }  # fmt: skip


def _epoch(epoch: int, acc: float) -> dict[str, Any]:
    reached = [acc * (1 - 0.5**epoch) - 0.01 * head for head in range(HEADS)]
    losses = {"main": [-value for value in reached], "auxiliary": [-2 * value for value in reached]}
    scores = dict.fromkeys(("acc", "nmi", "ari"), reached)
    return {"epoch": epoch, "losses": losses, "criterion": -reached[0], **scores, "clusters_used": [CLUSTERS] * HEADS,
            "chosen_head": 0, "train_seconds": 1.5, "evaluate_seconds": 0.02, "images": 75_000}  # fmt: skip


def _labels(random: np.random.Generator, acc: float) -> bytes:
    truth = random.integers(0, CLUSTERS, IMAGES, dtype=np.int8)
    arrays: dict[str, Any] = {"truth": truth}
    for selection in ("last", "own-loss", "oracle"):
        right = random.random((HEADS, IMAGES)) < acc
        arrays[selection] = np.where(right, truth, random.integers(0, CLUSTERS, (HEADS, IMAGES), dtype=np.int8))
        arrays[f"{selection}/head"] = np.int8(0)
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


if __name__ == "__main__":
    main()
