"""`bench compare`: methods, folders and runs by the names that people give them."""

from __future__ import annotations

import shutil

import pytest
from cli_tools import Bench


@pytest.fixture
def ran(bench: Bench) -> Bench:
    """Three seeds of k-means and one of the random network on digits are on record."""
    assert bench.run("--method", "kmeans", "--preset", "smoke", "--quiet", "--seeds", "3").code == 0
    assert bench.run("--method", "random", "--preset", "smoke", "--quiet").code == 0
    return bench


def test_methods_runs_and_folders_are_told_apart(ran: Bench) -> None:
    methods = ran("compare", "kmeans", "random")
    assert methods.code == 0
    assert "digits, protocol full: kmeans (smoke, n=3) and random (smoke, seed 0)" in methods.out
    assert "No claim: 1 seed: too few for a claim." in methods.out
    run = ran("compare", "kmeans-digits-smoke-s0", "kmeans-digits-smoke-s1").out
    assert "seeds: 0; 1" in run and "Agreement of their clusters" in run
    shutil.copytree(ran.out, "before")
    folders = ran("compare", "before", str(ran.out)).out
    assert "Not told apart" in folders and "kmeans (smoke, n=3) and kmeans (smoke, n=3)" in folders
    assert "+0.0" in folders and "Configuration" not in folders


def test_words_that_mean_nothing_are_told(ran: Bench) -> None:
    assert "There is no run of iic in" in ran("compare", "iic", "kmeans").err
    unknown = ran("compare", "kmeans-digits-smoke-s7", "kmeans")
    assert unknown.code == 1 and "Did you mean 'kmeans-digits-smoke-s" in unknown.err
    assert "2 runs" not in unknown.err
    several = ran("compare", "kmeans-digits", "random")
    assert several.code == 1 and "3 runs in" in several.err
