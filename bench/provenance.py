"""Where a result comes from: code, packages, hardware, data and command, as found when a trial starts.

Nothing of the environment's variables, the host's name or the user's is taken, except what stands in the command line itself.
"""

from __future__ import annotations

import json
import platform
import shlex
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions, version
from pathlib import Path
from typing import Any

import torch

from ..datasets.base import TrialData
from ..methods.kit import execution
from .devices import available_cores
from .redaction import without_passwords

PACKAGE = __name__.partition(".")[0]
PACKAGES = (
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "scikit-learn",
    "pydantic",
    "safetensors",
    "faiss-cpu",
    "opencv-python-headless",
    "ray",
    "mlflow",
)
CHECKOUT = Path(__file__).resolve().parents[1]
GIT_PATIENCE_S = 10


def collect(data: TrialData, device: str, method_module: str = PACKAGE) -> dict[str, Any]:
    """Everything of the present process that a reader of a result may ask for, as JSON values.

    Args:
        data: what the trial works on.
        device: `cpu` or `cuda:N`.
        method_module: import path of the method, so that another package's version is noted too.
    """
    on_gpu = device.startswith("cuda")
    return {
        "clusterbench": _version(PACKAGE),
        "git": dict(_revision()),
        "python": platform.python_version(),
        "packages": _packages(method_module.partition(".")[0]),
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "cores": available_cores(),
        "threads": torch.get_num_threads(),
        "device": device,
        "gpu": torch.cuda.get_device_name(device) if on_gpu else None,
        "cuda": torch.version.cuda if on_gpu else None,
        "execution": execution.current().as_dict(),
        "data": describe_data(data),
        "command": own_command(),
    }


def describe_data(data: TrialData) -> dict[str, Any]:
    """The data of a trial: name, protocol, checksums, notes, sizes, classes, and which splits serve what."""
    return {
        "name": data.name,
        "protocol": data.protocol,
        "fingerprint": data.fingerprint,
        "notes": list(data.notes),
        "n_train": len(data.train),
        "n_score": len(data.score),
        "shape": list(data.train.shape),
        "n_classes": data.n_classes,
        "class_names": list(data.class_names),
        **data.about,
    }


_told: list[str] = []  # the command that a scheduler started this process for, once it has said so


def started_by(command: str) -> None:
    """Let the records of this process name `command`, where a scheduler started the process and its own arguments say nothing."""
    _told[:] = [command]


def own_command() -> str:
    """The command line of this process, or the one that it was started for."""
    return _told[-1] if _told else command_line(sys.argv)


def command_line(arguments: list[str]) -> str:
    """The command as a shell would take it: the program without its folder, no password of a URL."""
    program, *rest = arguments or [""]
    return without_passwords(shlex.join([Path(program).name, *rest]))


@cache  # the code that runs is the code as it was when the process began
def _revision() -> tuple[tuple[str, Any], ...]:
    """`revision` and `dirty` of the checkout that this code runs from; both None for a plain installation.

    Only a `.git` right beside the rooms counts: one further up belongs to somebody whose environment we are installed in.
    """
    if (CHECKOUT / ".git").exists():
        revision, status = _git("rev-parse", "HEAD"), _git("status", "--porcelain")
        return ("revision", revision or None), ("dirty", None if status is None else bool(status))
    commit = _installed_commit()
    return ("revision", commit), ("dirty", False if commit else None)


def _git(*arguments: str) -> str | None:
    """What git prints about the checkout; None if it fails or is not there."""
    command = ["git", "-C", str(CHECKOUT), "--no-optional-locks", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=GIT_PATIENCE_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _installed_commit() -> str | None:
    """The commit that `pip install git+https://...` noted."""
    try:
        noted = distribution(PACKAGE).read_text("direct_url.json")
    except PackageNotFoundError:
        return None
    return (json.loads(noted).get("vcs_info") or {}).get("commit_id") if noted else None


@cache
def _packages(method_package: str) -> dict[str, str]:
    """Versions by the names that pip knows, of ours and of the package that a method's module is of."""
    its_own = packages_distributions().get(method_package, ()) if method_package != PACKAGE else ()
    found = {name: _version(name) for name in (*PACKAGES, *its_own)}
    return {name: known for name, known in found.items() if known}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@cache
def cpu_model() -> str:
    """As the system names it, e.g. `Intel(R) Xeon(R) Platinum 8370C CPU @ 2.80GHz`."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(named), platform.processor() or platform.machine())
