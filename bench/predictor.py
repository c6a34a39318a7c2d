"""The method of a finished run, as its last epoch left it, made again from its record."""

from __future__ import annotations

import pickle
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..methods.base import Method, MethodError, State
from ..methods.registry import methods
from ..results.record import Record, RecordError
from .randomness import seed_all
from .run_line import run_line
from .trained import FILE, FORMAT, WEIGHTS


def trained_method(record: Record, device: str = "cpu") -> Method:
    """The method of a record as its last epoch left it, ready to predict on `device`.

    Raises:
        RecordError: the trial is not finished, or its record lacks what is needed, with the command that makes it again.
        MethodError: what is kept does not fit the installed method.
        NotFound: no such method is installed.
    """
    content = _read(record)
    spec = record.spec
    seed_all(spec["seed"])
    method = methods.get(spec["method"])(spec["n_clusters"], seed=spec["seed"], device=device, **spec["config"])
    state: State = content["state"]
    if "model" in state:
        state = {**state, "model": _filled(state["model"], _weights(record))}
    try:
        method.load_state_dict(state)
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise MethodError(
            f"What {record.folder.name} kept does not fit the installed {spec['method']} ({reason}). {_again(record)}"
        ) from error
    return method


def _read(record: Record) -> dict[str, Any]:
    if record.status not in ("complete", "stopped") or not record.metrics:
        raise RecordError(f"{record.folder.name} is {record.status} and has no trained model yet. {_again(record, force=False)}")
    path = record.folder / FILE
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise RecordError(
            f"{record.folder.name} keeps no {FILE}: it was made by an older version, or came without weights. {_again(record)}"
        ) from None
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise RecordError(f"{path} is damaged ({reason}). {_again(record)}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise RecordError(f"{path} is of another version of clusterbench. {_again(record)}")
    if not content["kept"]:
        size = f"{content['bytes'] / 1e6:,.0f} MB"
        raise RecordError(
            f"{record.folder.name}: {content['method']} labels new images by what it keeps of its training images, and "
            f"that ({size}) was not kept. Choose another run, or train on fewer images."
        )
    return content


def _weights(record: Record) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = record.folder / WEIGHTS
    try:
        return load_file(path)
    except FileNotFoundError:
        raise RecordError(f"{record.folder.name} came without its weights ({WEIGHTS}). {_again(record)}") from None
    except (OSError, SafetensorError) as error:
        raise RecordError(f"{path} is damaged ({error}). {_again(record)}") from None


def _again(record: Record, *, force: bool = True) -> str:
    """The command that makes the record anew."""
    out = "" if record.folder.parent == Path() else f" --out {shlex.quote(str(record.folder.parent))}"
    return f"Run it again: {run_line(record.spec, str(record.spec['seed']) + ',')}{out}{' --force' if force else ''}"


def _filled(outline: Mapping[str, Any], weights: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """The tree that `_outline` was made of. Raises `MethodError` for a tensor that is not among `weights`."""
    tree: dict[str, Any] = {}
    for key, value in outline.items():
        if isinstance(value, Mapping):
            tree[key] = _filled(value, weights)
        elif isinstance(value, list):
            tree[key] = value[0]
        elif value in weights:
            tree[key] = weights[value]
        else:
            raise MethodError(
                f"{WEIGHTS} has no {value!r}: it is not of the same run as {FILE}. Run the trial again with --force."
            )
    return tree
