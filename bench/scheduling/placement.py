"""Where trials run: the cluster, how much of it each trial takes, and so how many run at a time."""

from __future__ import annotations

import math
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..spec import SpecError

HERE = "local"  # a Ray of this command's own
ON_A_NODE = "auto"  # the cluster that this machine is a node of
CLIENT = "ray://"  # begins the address of a cluster as seen from outside
NO_RAY = "none"  # one trial after the other in this process
CLIENT_TRIES = 3
GIB = 2**30
LONGEST_REASON = 200  # characters of what Ray says
SETTINGS_OF_RAY = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # our records are the log
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_WARN_THRESHOLD_S": "60",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_raylet_start_wait_time_s": "300",  # its minute is too little where everything else is busy too
}


@dataclass(frozen=True)
class Placement:
    """How trials are placed.

    Attributes:
        address: `local` (a Ray of this command's own), `auto` (the cluster of this machine), `HOST:PORT` of a cluster
            that this machine is a node of, `ray://HOST:PORT` (the client port of any cluster), or `none` (no Ray: one
            trial after the other in this process).
        cpus_per_trial: at least 1; also the threads that each trial computes with.
        gpus_per_trial: 0 for none; a fraction lets several trials share a GPU; None for a whole one where there are any;
            `auto` to measure the first trial and pack by that.
        memory_per_trial: bytes of main memory that Ray sets aside for each; None for none.
        max_concurrent: trials at a time; None for as many as fit.
    """

    address: str = HERE
    cpus_per_trial: int = 1
    gpus_per_trial: float | Literal["auto"] | None = None
    memory_per_trial: int | None = None
    max_concurrent: int | None = None

    def resources(self, cluster: Mapping[str, float]) -> dict[str, float]:
        """What each trial asks Ray for. Raises `SpecError` if no cluster of this size could ever give it."""
        gpus = self.gpus_per_trial
        if gpus is None or gpus == "auto":
            gpus = 1.0 if cluster.get("GPU", 0) >= 1 else 0.0
        wanted = {"CPU": float(self.cpus_per_trial), "GPU": gpus, "memory": float(self.memory_per_trial or 0)}
        for name, amount in wanted.items():
            there = cluster.get(name, 0)
            if amount > there:
                unit, what = (GIB, "GiB of memory") if name == "memory" else (1, name)
                raise SpecError(
                    f"A trial asks for {amount / unit:g} {what}, the whole cluster has {there / unit:g}. Ask for less."
                )
        return {name: amount for name, amount in wanted.items() if amount}

    def concurrency(self, cluster: Mapping[str, float]) -> int:
        """How many trials fit at a time, at least 1."""
        fit = min(math.floor(cluster[name] / amount + 1e-9) for name, amount in self.resources(cluster).items())
        return max(1, min(fit, self.max_concurrent or fit))


def as_tune_asks(resources: Mapping[str, float]) -> dict[str, float]:
    """`Placement.resources` under the names that Ray Tune has for them."""
    return {{"CPU": "cpu", "GPU": "gpu"}.get(name, name): amount for name, amount in resources.items()}


def set_environment(address: str) -> None:
    """What Ray reads from the environment when it is imported, so before that: few words, patience, and tokens.

    A cluster of our own gets a token that keeps it closed to others and leaves none in the home folder. A cluster that is
    reached through its client port is shown the token that there is: unlike `ray.init` for other addresses, Ray's client
    does not look for one unless it is told to, and is then left without an answer.
    """
    for name, value in SETTINGS_OF_RAY.items():
        os.environ.setdefault(name, value)
    if "ray" in sys.modules or "RAY_AUTH_MODE" in os.environ:
        return
    if address == HERE:
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    elif address.startswith(CLIENT) and _has_token():
        os.environ["RAY_AUTH_MODE"] = "token"


def _has_token() -> bool:
    """Whether a token of Ray is where Ray looks for one."""
    return bool({"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys()) or Path("~/.ray/auth_token").expanduser().is_file()


@contextmanager
def connected(address: str) -> Iterator[Mapping[str, float]]:
    """A Ray cluster for as long as the context lasts: its resources in all. Left running if it was there before.

    Raises `SpecError` if there is none at `address`.
    """
    import ray

    if ray.is_initialized():
        yield ray.cluster_resources()
        return
    try:
        _join(address)
    except (ConnectionError, RuntimeError, ValueError) as error:
        if address == HERE:
            raise
        raise SpecError(
            f"No Ray cluster answers at {address!r} ({said_by(error)}). Start one (ray start --head), or leave --address out. "
            "If it has a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN as there."
        ) from error
    try:
        yield ray.cluster_resources()
    finally:
        ray.shutdown()


def _join(address: str) -> None:
    """Connect to the cluster. A client port that answered and then failed is tried again.

    Ray serves each client by a process that it forks from one that is busy with gRPC, and now and then that process dies of it
    (seen in 1 of 60 connections; `GRPC_ENABLE_FORK_SUPPORT=0` in the head's environment prevents it).
    """
    import ray

    for _ in range(CLIENT_TRIES - 1 if address.startswith(CLIENT) else 0):
        with suppress(ConnectionAbortedError):
            ray.init(**_options(address))
            return
    ray.init(**_options(address))


def said_by(error: Exception) -> str:
    """The last line of what Ray says, which may be a traceback of another process."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1].strip()[:LONGEST_REASON]


def _options(address: str) -> dict[str, Any]:
    from ..devices import available_cores

    common = {"logging_level": "ERROR", "log_to_driver": False}
    if address != HERE:
        return {**common, "address": address}
    return {**common, "address": HERE, "num_cpus": available_cores(), "include_dashboard": False}
