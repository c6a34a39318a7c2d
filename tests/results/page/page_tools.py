"""Records made up for the page, and how to read one."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from clusterbench.results.record import Record, RecordWriter

EVIL = "<script>document.title='taken'</script>"
TRUTH = np.repeat(np.arange(3), 20)  # 60 images of three classes
CLASSES = ["cat", "dog", "<b>owl</b>"]


def clusters(wrong: int) -> np.ndarray:
    """Clusters (60,): the classes numbered 2, 0, 1, but for the first `wrong` images of class 0, which are in that of class 1."""
    found = (TRUTH + 2) % 3
    found[:wrong] = 0
    return found


def write(out: Path, method: str, seed: int, wrong: int, **given: Any) -> None:
    """A complete record of three epochs on the data set `shapes`; of 60 images `wrong` are in a wrong cluster."""
    acc = (60 - wrong) / 60
    spec = {"method": method, "method_version": 1, "task": "clustering", "dataset": "shapes", "data_fingerprint": "f" * 64,
            "protocol": "full", "seed": seed, "n_clusters": 3, "preset": "short", "overrides": {}, "config": {"epochs": 3},
            "time_limit_s": None} | given  # fmt: skip
    number = hashlib.sha256(json.dumps(spec).encode()).hexdigest()[:12]
    writer = RecordWriter(out / f"{len(list(out.glob('*'))):03d}-s{seed}")
    data = {"n_classes": 3, "class_names": CLASSES, "notes": []}
    writer.start(id=number, spec=spec, provenance={"cpu": "abacus", "threads": 1, "data": data, "command": "bench run"})
    for epoch in (1, 2, 3):
        criterion = None if epoch == 2 else -epoch  # some methods judge themselves in some epochs only
        writer.append_epoch({"epoch": epoch, "criterion": criterion, "acc": [acc * epoch / 3], "nmi": [0.5], "chosen_head": 0})
    found = clusters(wrong)[None]
    writer.save_labels({"truth": TRUTH, "own-loss": found, "own-loss/head": 0, "last": found, "last/head": 0})
    scores = {"acc": acc, "nmi": acc - 0.1, "ari": acc - 0.2, "clusters_used": 3, "epoch": 3, "head": 0}
    metrics = dict.fromkeys(("own-loss", "last", "oracle"), scores)
    cost = {"total_seconds": 10.0 * (1 + wrong), "train_seconds": 9.0, "images": 180}
    mapping = {"kind": "hungarian", "on": ["train"]}
    writer.finish(metrics=metrics, metrics_version=1, epochs_done=3, planned_epochs=3, mapping=mapping, cost=cost)


def command(record: Record) -> str:
    """What the tests' pages give as the command that repeats a run."""
    return f"bench run --method '{record.spec['method']}' --seeds {record.spec['seed']},"


def pictures(record: Record, rows: np.ndarray) -> np.ndarray:
    """Images (n, 1, 4, 4) as bright as their number."""
    return np.broadcast_to(rows.astype(np.uint8)[:, None, None, None], (len(rows), 1, 4, 4))


def unpacked(html: str, name: str) -> Any:
    """What stands packed in a page under a name."""
    (text,) = re.findall(rf'id="packed-{name}">([^<]*)<', html)
    return json.loads(gzip.decompress(base64.b64decode(text)))
