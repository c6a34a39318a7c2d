"""What works on this machine: a line for each thing that a trial, a table or a tracker needs, and what to do about it."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

Status = Literal["ok", "warn", "fail"]
ESSENTIAL = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "pydantic", "PyYAML", "safetensors")
OLDEST_PYTHON = (3, 10)
LITTLE_DISK = 2 * 1024**3
RAY_SECONDS = 180
_MODULES = {"scikit-learn": "sklearn", "PyYAML": "yaml"}
_RAY_TASK = """
import ray
ray.init(address="local", num_cpus=1, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
print(ray.get(ray.remote(lambda: 6 * 7).remote()))
ray.shutdown()
"""


@dataclass(frozen=True)
class Check:
    """One line: `fail` means that trials cannot run, `warn` that something beside them cannot."""

    name: str
    status: Status
    found: str
    advice: str = ""


def checks(out: Path, data_root: Path | None = None, *, start_ray: bool = False) -> Iterator[Check]:
    """Every check, one after the other as it is done.

    Args:
        out: folder of the records.
        data_root: folder of data sets that is searched first.
        start_ray: also start a Ray of one worker on this machine and run a task on it (about 15 s).
    """
    yield _python()
    for package in ESSENTIAL:
        yield _guarded(package, "fail", lambda package=package: _package(package), "Install it again: pip install clusterbench")
    yield from _devices()
    yield _guarded("faiss", "warn", _faiss, "k-means on large data needs it: pip install faiss-cpu")
    yield _guarded("ray", "warn", lambda: _ray(start_ray), "Single trials need no Ray. Otherwise: pip install 'ray[tune]'")
    yield _guarded("mlflow", "warn", _mlflow, "Use --mlflow off, or install it again: pip install mlflow")
    yield from _data(data_root)
    yield _output(out)
    yield _terminal()


def _guarded(name: str, status: Status, check: Callable[[], str], advice: str) -> Check:
    """`check` tells what it found, or raises: any exception of somebody else's package becomes a line here."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # other packages' deprecations are not this machine's faults
            return Check(name, "ok", check())
    except Exception as error:
        return Check(name, status, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}", advice)


def _python() -> Check:
    found = f"{sys.version.split()[0]}, {sys.executable}"
    if sys.version_info[:2] < OLDEST_PYTHON:
        return Check("python", "fail", found, f"Use Python {'.'.join(map(str, OLDEST_PYTHON))} or newer.")
    return Check("python", "ok", found)


def _package(package: str) -> str:
    importlib.import_module(_MODULES.get(package, package))
    return version(package)


def _devices() -> Iterator[Check]:
    """A line for the CPU and one for every GPU, each after a small product and convolution on it."""
    try:
        import torch
    except Exception:  # the line of the package torch has already said so
        return
    threads = f"{torch.get_num_threads()} threads, {os.cpu_count()} cores"
    yield _guarded(
        "cpu", "fail", lambda: f"{threads}; {_arithmetic('cpu')}", "The arithmetic of torch is broken here: install it again."
    )
    if not torch.cuda.is_available():
        why = (
            "this torch is built for the CPU"
            if torch.version.cuda is None
            else f"torch for CUDA {torch.version.cuda} sees no GPU"
        )
        yield Check("gpu", "ok", f"none: {why}; --device auto takes the CPU")
    for index in range(torch.cuda.device_count()):
        advice = f"Check the driver with nvidia-smi, or run with --device cpu instead of cuda:{index}."
        yield _guarded(f"cuda:{index}", "warn", lambda index=index: _gpu(index), advice)


def _gpu(index: int) -> str:
    import torch

    properties = torch.cuda.get_device_properties(index)
    return f"{properties.name}, {properties.total_memory / 1024**3:.0f} GiB; {_arithmetic(f'cuda:{index}')}"


def _arithmetic(device: str) -> str:
    """Compare a matrix product and a convolution on `device` with numpy's float64. Raises `ArithmeticError`."""
    import numpy as np
    import torch

    values = np.random.default_rng(0).normal(size=(8, 16))
    exact = values @ values.T
    tensor = torch.tensor(values, dtype=torch.float32, device=device)
    product = (tensor @ tensor.T).cpu().numpy()
    kernel = tensor[:, None, None, :]  # (8, 1, 1, 16): on rows of 16 pixels the convolution is the same product
    convolved = torch.nn.functional.conv2d(tensor[:, None, None, :], kernel).flatten(1).cpu().numpy()
    error = np.abs(np.stack([product, convolved]) - exact).max()
    if not error < 0.1:  # TF32 rounds to 10 bits; anything worse, NaN included, is broken
        raise ArithmeticError(f"product and convolution are off by {error}")
    return "product and convolution right"


def _faiss() -> str:
    import faiss
    import numpy as np

    points = np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32)
    index = faiss.IndexFlatL2(8)
    index.add(points)  # type: ignore[call-arg]
    nearest = index.search(points, 1)[1][:, 0]  # type: ignore[call-arg]
    if not (nearest == np.arange(64)).all():
        raise ArithmeticError("a point's nearest neighbour should be itself")
    return f"{version('faiss-cpu')}, neighbours right"


def _ray(start: bool) -> str:
    import ray

    if not start:
        return f"{ray.__version__}, not started (bench doctor --ray starts one)"
    import secrets

    # A token of its own keeps the short-lived cluster closed to others and leaves no token in the home folder.
    environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    command = [sys.executable, "-c", _RAY_TASK]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=RAY_SECONDS, check=False)
    if done.returncode or done.stdout.strip() != "42":
        raise RuntimeError((done.stderr.strip() or done.stdout.strip() or "no answer").splitlines()[-1])
    return f"{ray.__version__}, started with one worker and ran a task"


def _mlflow() -> str:
    import logging

    from mlflow import MlflowClient

    for chatty in ("mlflow", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        client = MlflowClient(tracking_uri=f"sqlite:///{folder}/doctor.db")
        run = client.create_run(client.create_experiment("doctor", artifact_location=Path(folder, "files").as_uri()))
        client.log_metric(run.info.run_id, "acc", 0.5)
        if client.get_run(run.info.run_id).data.metrics != {"acc": 0.5}:
            raise OSError("a metric did not come back as it was written")
    return f"{version('mlflow')}, a run written and read in SQLite"


def _data(data_root: Path | None) -> Iterator[Check]:
    """The folders that are searched, the data sets that are there and those that are not, and what is damaged."""
    from ..datasets.catalogue import datasets
    from ..datasets.errors import DataError
    from ..datasets.places import all_stores, state
    from ..datasets.preparation.store import open_store
    from ..datasets.roots import data_roots

    try:
        roots = data_roots(data_root)
    except DataError as error:
        yield Check("data roots", "fail", str(error), "Without this folder only data sets that come with packages can be used.")
        return
    yield Check("data roots", "ok", ", ".join(f"{root}{'' if root.is_dir() else ' (not there yet)'}" for root in roots))
    found: dict[str, list[str]] = {"package": [], "prepared": [], "originals": [], "absent": []}
    for name in datasets.names():
        if ":" not in name:
            found[state(name, datasets.card(name), data_root).kind].append(name)
    yield Check("data ready", "ok", ", ".join([*found["package"], *found["prepared"]]))
    if found["originals"]:
        yield Check("data here", "ok", f"{', '.join(found['originals'])}: not prepared yet, which the first run does")
    if found["absent"]:
        advice = (
            "bench data prepare NAME --download fetches what may be fetched; --sample makes small stand-ins; or --data-root DIR."
        )
        yield Check("data not here", "warn", ", ".join(found["absent"]), advice)
    for folder in all_stores(data_root):
        try:
            open_store(folder)
        except DataError as error:
            yield Check("data damaged", "warn", str(error))


def _output(out: Path) -> Check:
    """Whether records can be written: tried in the nearest folder that exists, so that a check leaves nothing behind."""
    out = out.expanduser().absolute()
    existing = next(folder for folder in (out, *out.parents) if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(b"a record")
    except OSError as error:
        return Check("output", "fail", f"{out}: {error.strerror}", "Choose another folder with --out DIR or $CLUSTERBENCH_OUT.")
    free = shutil.disk_usage(existing).free
    found = f"{out}, {free / 1024**3:.1f} GiB free"
    if free < LITTLE_DISK:
        return Check("output", "warn", found, "Records with network weights need room: choose another folder with --out DIR.")
    return Check("output", "ok", found)


def _terminal() -> Check:
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        return Check("terminal", "ok", "none: plain lines instead of live progress")
    found = f"{console.width}x{console.height}, {console.color_system or 'no'} colours, {console.encoding}"
    if console.is_dumb_terminal:
        return Check("terminal", "warn", found, "TERM=dumb shows plain lines; set TERM to your terminal's name.")
    return Check("terminal", "ok", found)
