"""What a run record becomes in MLflow: parameters, metrics, tags, files and the model's description."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .record import Record

if TYPE_CHECKING:
    from mlflow.entities import Metric

VERSION = 2  # of what is delivered; records that were fed by an older version are fed again
ARTIFACTS = ("record.json", "config.yaml", "epochs.jsonl", "labels.npz")
WEIGHTS, MODEL_FOLDER = "model.safetensors", "model"
LONGEST_KEY, LONGEST_PARAM, LONGEST_TAG = 250, 6000, 5000  # MLflow refuses longer texts
BY_HEAD, CHOSEN_ONLY = ("acc",), ("nmi", "ari", "clusters_used", "effective_clusters")
NO_CURVES = ("epoch", "loss_floors", "notices")  # of a row of epochs.jsonl
IN_THE_RECORD_ONLY = ("label_fractions", "iou")  # of a selection: tables of numbers, not metrics
ID, CONTENT, PARENT = "clusterbench.id", "clusterbench.content", "mlflow.parentRunId"
Point = tuple[str, float]


def content_hash(record: Record) -> str:
    """Of everything that is delivered, so that a record which is there already is recognised."""
    digest = hashlib.sha256(f"{VERSION};".encode())
    for name in ARTIFACTS:
        path = record.folder / name
        digest.update(f"{name}:{path.stat().st_size if path.is_file() else None};".encode())
        if path.is_file():
            digest.update(path.read_bytes())
    weights = record.folder / WEIGHTS
    digest.update(f"{WEIGHTS}:{weights.stat().st_size if weights.is_file() else None}".encode())
    return digest.hexdigest()


def params(spec: Mapping[str, Any]) -> dict[str, str]:
    """The spec of a trial as MLflow's parameters, nested settings by dotted name."""
    told = {name: value for name, value in spec.items() if name != "overrides"}
    return {_key(name): _text(value)[:LONGEST_PARAM] for name, value in _flat(told)}


def tags(record: Record) -> dict[str, str]:
    """How it ended, data checksum, code revision, packages and hardware."""
    about = record.provenance
    git = about.get("git") or {}
    return {
        ID: record.id,
        **spec_tags(record.spec),
        **_as_tags(
            {
                "clusterbench.status": record.status,
                "clusterbench.lab": record.lab,
                "clusterbench.stop_reason": record.stop_reason,
                "clusterbench.error": record.error and f"{record.error.get('type')}: {record.error.get('message')}",
                "clusterbench.metrics_version": record.metrics_version,
                "clusterbench.revision": git.get("revision"),
                "mlflow.source.git.commit": git.get("revision"),
                "clusterbench.revision_dirty": git.get("dirty"),
                **{f"clusterbench.{name}": about.get(name) for name in ("device", "gpu", "cpu", "python", "command")},
                "clusterbench.version": about.get("clusterbench"),
                **{f"clusterbench.package.{name}": version for name, version in (about.get("packages") or {}).items()},
            }
        ),
    }


def spec_tags(spec: Mapping[str, Any]) -> dict[str, str]:
    """What a trial is, as far as it is known before it starts."""
    return _as_tags(
        {
            "clusterbench.preset": spec.get("preset"),
            "clusterbench.overrides": spec.get("overrides") or None,
            "clusterbench.data_fingerprint": spec.get("data_fingerprint"),
        }
    )


def metrics(record: Record, passed_over: Iterable[int] = ()) -> list[Metric]:
    """Metrics of every epoch at its step, then the final ones at the last step; what is not a number is left out.

    Args:
        passed_over: epochs whose metrics are there already.
    """
    from mlflow.entities import Metric

    begin, skipped = milliseconds(record.created), set(passed_over)
    found, elapsed = [], 0.0
    for row in record.epochs():
        elapsed += (row.get("train_seconds") or 0.0) + (row.get("evaluate_seconds") or 0.0)
        step = epoch_of(row)
        if step not in skipped:
            found += epoch_metrics(row, begin + round(1000 * elapsed))
    chosen = {
        name: {key: value for key, value in scores.items() if key not in IN_THE_RECORD_ONLY}
        for name, scores in record.metrics.items()
    }
    last = {**chosen, "selection_gap": record.selection_gap, "cost": record.cost, "epochs_done": record.epochs_done}
    end = milliseconds(record.finished or record.created)
    return found + [Metric(key, value, end, record.epochs_done) for key, value in _points(last)]


def epoch_metrics(row: Mapping[str, Any], at: int) -> list[Metric]:
    """The metrics of one row of epochs.jsonl, at its epoch; `at` in milliseconds since 1970."""
    from mlflow.entities import Metric

    return [Metric(key, value, at, epoch_of(row)) for key, value in epoch_points(row)]


def epoch_points(row: Mapping[str, Any]) -> list[Point]:
    """Losses, cost, ACC by head, and all scores of the head that was chosen then.

    The other scores by head stand in the artefact epochs.jsonl: MLflow takes 0.1 ms a point, and nobody looks at the
    ARI of head 4.
    """
    named = {name: value for name, value in row.items() if name not in (*NO_CURVES, *CHOSEN_ONLY)}
    for name in (*BY_HEAD, *CHOSEN_ONLY):
        heads = dict(enumerate(row.get(name) or ()))
        chosen = {"chosen": heads.get(row.get("chosen_head", 0))}
        named[name] = {**heads, **chosen} if name in BY_HEAD else chosen
    return list(_points({"epochs": named}))


def epoch_of(row: Mapping[str, Any]) -> int:
    return int(row.get("epoch", 0))


def mlmodel(record: Record, run_id: str) -> str:
    """The text of an MLmodel file: where the weights are, how to build the network, and what goes in and comes out.

    The weights are a safetensors file beside it: nothing is pickled, and nobody executes anything by opening it.
    """
    import numpy as np
    from mlflow.models import Model, ModelSignature
    from mlflow.types import Schema, TensorSpec

    images = TensorSpec(np.dtype("uint8"), _image_shape(record), "images")
    labels = TensorSpec(np.dtype("int64"), (-1,), "labels")
    model = Model(
        artifact_path=MODEL_FOLDER,
        run_id=run_id,
        utc_time_created=record.finished or record.created,
        model_uuid=hashlib.sha256(record.id.encode()).hexdigest()[:32],
        signature=ModelSignature(Schema([images]), Schema([labels])),
    )
    spec = record.spec
    about = {name: spec.get(name) for name in ("method", "method_version", "n_clusters", "seed")}
    model.add_flavor("clusterbench", **about, weights=WEIGHTS, config="config.yaml")
    return model.to_yaml()


def _image_shape(record: Record) -> tuple[int, ...]:
    """(N, C, H, W) with -1 for what any number may be, and for what an older record does not tell."""
    _, *image = (record.provenance.get("data") or {}).get("shape") or (-1, -1, -1, -1)
    return (-1, *image)


def model_files(record: Record) -> list[Path]:
    """What lies beside the MLmodel file; [] for a trial without a network."""
    weights = record.folder / WEIGHTS
    return [weights, record.folder / "config.yaml"] if weights.is_file() else []


def milliseconds(time: str) -> int:
    """ISO 8601 as milliseconds since 1970."""
    return round(1000 * datetime.fromisoformat(time).timestamp())


def _as_tags(values: Mapping[str, Any]) -> dict[str, str]:
    return {_key(name): _text(value)[:LONGEST_TAG] for name, value in values.items() if value is not None}


def _points(values: Mapping[str, Any]) -> Iterator[Point]:
    for name, value in _flat(values, separator="/", lists=True):
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            yield _key(name), float(value)


def _flat(value: Any, name: str = "", separator: str = ".", lists: bool = False) -> Iterator[tuple[str, Any]]:
    """Leaves of nested mappings by joined name; list items too if asked, by their index."""
    if isinstance(value, Mapping):
        items: Iterable[tuple[Any, Any]] = value.items()
    elif lists and isinstance(value, (list, tuple)):
        items = enumerate(value)
    else:
        yield name, value
        return
    for key, item in items:
        yield from _flat(item, f"{name}{separator}{key}" if name else str(key), separator, lists)


def _key(name: str) -> str:
    """A name in the characters that MLflow takes."""
    return re.sub(r"[^\w\-. :/]", "_", name, flags=re.ASCII)[:LONGEST_KEY]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
