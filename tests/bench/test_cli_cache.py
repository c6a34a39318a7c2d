"""`bench cache`: what is kept, and deleting it."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest
import torch
import typer
from cli_tools import Bench, modules_after

from clusterbench.methods.kit.artefacts import Artefacts

DAY = 86400.0


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Artefacts:
    """Three artefacts of about 40 kB, unused for 40, 20 and 0 days, in the folder that the variable names."""
    monkeypatch.setenv("CLUSTERBENCH_CACHE", str(tmp_path / "kept"))
    found = Artefacts()
    for kind, key, age in (("pretext", "0a", 40), ("features", "0b", 20), ("features", "0c", 0)):
        found.save(kind, key, {"t": torch.zeros(10_000)}, {"method": "simclr", "seed": 3})
        used = time.time() - age * DAY
        os.utime(found.path(kind, key) / "facts.json", (used, used))
    return found


def left(store: Artefacts) -> set[str]:
    return {entry.name for entry in store.entries()}


def test_list_tells_name_size_ages_and_facts_without_loading_torch(store: Artefacts) -> None:
    code, modules, output = modules_after("cache", "list")
    assert code == 0 and "torch" not in modules
    rows = [line.split("\t") for line in output.splitlines() if "\t" in line]
    assert [(row[0], row[3]) for row in rows] == [
        ("features/0b", "20 d ago"), ("features/0c", "just now"), ("pretext/0a", "40 d ago"),
    ]  # fmt: skip
    assert {(row[1], row[2], row[4]) for row in rows} == {("0.0", "just now", "{method: simclr, seed: 3}")}


def test_json_has_all_that_is_known_and_kinds_can_be_chosen(bench: Bench, store: Artefacts) -> None:
    (known,) = json.loads(bench("cache", "list", "--kind", "pretext", "--json").out)
    assert (known["name"], known["facts"]) == ("pretext/0a", {"method": "simclr", "seed": 3})
    assert known["bytes"] == sum(path.stat().st_size for path in Path(known["folder"]).iterdir()) > 40_000


def test_path_is_the_options_folder_before_the_variables(bench: Bench, store: Artefacts, tmp_path: Path) -> None:
    assert bench("cache", "path").out == f"{tmp_path / 'kept'}\n"
    assert bench("cache", "path", "--cache-root", "other").out == f"{tmp_path / 'other'}\n"


@pytest.mark.parametrize(
    ("words", "stays"),
    [
        (("--all",), set()),
        (("--kind", "features"), {"pretext/0a"}),
        (("--unused-for", "30d"), {"features/0b", "features/0c"}),
        (("--unused-for", "10d", "--kind", "features"), {"features/0c", "pretext/0a"}),
        (("--keep", "90K"), {"features/0b", "features/0c"}),
        (("--keep", "0.05MB"), {"features/0c"}),
        (("--keep", "1G"), {"features/0b", "features/0c", "pretext/0a"}),
    ],
)
def test_prune_deletes_what_all_conditions_name_and_nothing_else(
    bench: Bench, store: Artefacts, words: tuple[str, ...], stays: set[str]
) -> None:
    ran = bench("cache", "prune", *words, "--yes")
    assert ran.code == 0
    assert left(store) == stays
    gone = 3 - len(stays)
    assert (f"deleted {gone} artefact" if gone else "nothing to delete") in ran.out


def test_prune_asks_before_it_deletes(bench: Bench, store: Artefacts, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    for answer in (False, True):
        monkeypatch.setattr(typer, "confirm", lambda question, err, answer=answer: asked.append(question) or answer)
        ran = bench("cache", "prune", "--all")
        assert ran.code == 0 and "pretext/0a" in ran.out
        assert len(left(store)) == (0 if answer else 3)
    assert asked == ["Delete 3 artefacts (0.1 MB)?"] * 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "say what to delete: --kind, --unused-for, --keep or --all"),
        (("--all",), "say --yes to delete without asking"),
        (("--keep", "much", "--yes"), "'much' is not a size. Write 500M, 20G or 1T."),
        (("--unused-for", "long", "--yes"), "'long' is not a duration."),
    ],
)
def test_prune_that_was_not_told_enough_deletes_nothing(
    bench: Bench, store: Artefacts, words: tuple[str, ...], told: str
) -> None:
    ran = bench("cache", "prune", *words)
    assert ran.code == 2 and told in ran.said
    assert len(left(store)) == 3


def test_what_a_trial_is_making_stays_and_is_named(bench: Bench, store: Artefacts) -> None:
    with store.claim("new", "0d"):
        (store.root / "new" / "0d").mkdir()
        ran = bench("cache", "prune", "--all", "--yes")
    assert ran.code == 1
    assert "new/0d stays: a trial holds it" in ran.err
    assert left(store) == {"new/0d"}


def test_an_empty_cache_is_no_error(bench: Bench, tmp_path: Path) -> None:
    assert bench("cache", "list", "--cache-root", str(tmp_path / "none")).out == ""
    assert bench("cache", "prune", "--all", "--cache-root", str(tmp_path / "none")).out == "nothing to delete\n"
