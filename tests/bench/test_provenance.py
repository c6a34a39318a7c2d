from __future__ import annotations

import getpass
import importlib.metadata
import json
import platform
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from trial_fakes import tiny_data

from clusterbench.bench import provenance
from clusterbench.datasets.base import TrialData
from clusterbench.methods.kit.execution import Execution, using


@pytest.fixture
def data() -> TrialData:
    return tiny_data(12)


@pytest.fixture(autouse=True)
def nothing_remembered() -> None:
    provenance._revision.cache_clear()


def test_it_says_what_ran_where_on_which_data(data: TrialData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/home/somebody/bin/bench", "run", "--set", "name=a b"])
    about = provenance.collect(data, "cpu")
    assert about["clusterbench"] == importlib.metadata.version("clusterbench")
    assert about["python"] == platform.python_version() and about["packages"]["torch"] == importlib.metadata.version("torch")
    assert (about["device"], about["gpu"], about["threads"]) == ("cpu", None, torch.get_num_threads())
    assert about["cores"] >= 1 and about["cpu"]
    assert about["command"] == "bench run --set 'name=a b'"
    assert about["data"] == {
        "name": "tiny",
        "protocol": "full",
        "fingerprint": data.fingerprint,
        "notes": [],
        "n_train": 12,
        "n_score": 12,
        "shape": [1, 4, 4],
        "n_classes": 3,
        "class_names": ["a", "b", "c"],
        "roles": {role: ["all"] for role in ("trunk", "main", "auxiliary", "mapping", "scored")},
    }
    json.dumps(about)


def test_it_tells_neither_the_environment_nor_user_nor_host(data: TrialData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hunter2-secret")
    monkeypatch.setenv("HOME", "/home/very-private-person")
    monkeypatch.setattr(getpass, "getuser", lambda: "very-private-person")
    monkeypatch.setattr(socket, "gethostname", lambda: "very-private-host")
    monkeypatch.setattr(platform, "node", lambda: "very-private-host")
    monkeypatch.setattr(
        sys, "argv", ["/home/very-private-person/bin/bench", "run", "--mlflow", "https://me:hunter2-secret@tracker/x"]
    )
    told = json.dumps(provenance.collect(data, "cpu"))
    assert "very-private" not in told and "hunter2" not in told
    assert "https://***@tracker/x" in told


def test_the_package_of_a_method_from_elsewhere_is_noted(data: TrialData) -> None:
    assert provenance.collect(data, "cpu", "pytest.methods")["packages"]["pytest"] == pytest.__version__


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    return subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def checkout_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    git(tmp_path, "init", "-q")
    (tmp_path / "code.py").write_text("1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    monkeypatch.setattr(provenance, "CHECKOUT", tmp_path)
    return tmp_path


def test_a_checkout_gives_its_revision_and_whether_it_was_changed(checkout_of_ours: Path, data: TrialData) -> None:
    revision = git(checkout_of_ours, "rev-parse", "HEAD").strip()
    assert provenance.collect(data, "cpu")["git"] == {"revision": revision, "dirty": False}
    (checkout_of_ours / "code.py").write_text("2\n")
    provenance._revision.cache_clear()
    assert provenance.collect(data, "cpu")["git"] == {"revision": revision, "dirty": True}


def test_the_repository_around_an_environment_is_not_ours(
    checkout_of_ours: Path, data: TrialData, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = checkout_of_ours / ".venv" / "site-packages" / "clusterbench"
    installed.mkdir(parents=True)
    monkeypatch.setattr(provenance, "CHECKOUT", installed)
    monkeypatch.setattr(provenance, "_installed_commit", lambda: None)
    assert provenance.collect(data, "cpu")["git"] == {"revision": None, "dirty": None}


def test_an_installation_from_git_gives_the_commit_that_pip_noted(
    tmp_path: Path, data: TrialData, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = json.dumps({"url": "https://example.org/x.git", "vcs_info": {"vcs": "git", "commit_id": "c0ffee"}})
    monkeypatch.setattr(provenance, "CHECKOUT", tmp_path)
    monkeypatch.setattr(provenance, "distribution", lambda name: type("Noted", (), {"read_text": lambda self, name: noted})())
    assert provenance.collect(data, "cpu")["git"] == {"revision": "c0ffee", "dirty": False}


def test_without_git_the_trial_goes_on(checkout_of_ours: Path, data: TrialData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert provenance.collect(data, "cpu")["git"] == {"revision": None, "dirty": None}


def test_a_process_that_a_scheduler_started_names_the_users_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance.sys, "argv", ["/opt/ray/default_worker.py", "--node=1"])
    monkeypatch.setattr(provenance, "_told", [])
    assert provenance.own_command() == "default_worker.py --node=1"
    provenance.started_by("bench run --method iic")
    assert provenance.own_command() == "bench run --method iic"


def test_how_networks_are_executed_is_told(data: TrialData) -> None:
    with using(Execution(fused=True)):
        switched = provenance.collect(data, "cpu")["execution"]
    assert (switched["fused"], provenance.collect(data, "cpu")["execution"]["fused"]) == (True, None)
