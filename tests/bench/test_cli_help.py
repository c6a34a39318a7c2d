"""Help, version and completion: at once, and true."""

from __future__ import annotations

import re
import shlex
from importlib.metadata import version

import pytest
import typer
from cli_tools import Bench, modules_after

from clusterbench.bench.cli.app import app
from clusterbench.bench.cli.options import complete_datasets, complete_methods, complete_names

HEAVY = {"torch", "torchvision", "sklearn", "scipy", "mlflow", "pandas", "ray", "faiss", "matplotlib"}
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
EXAMPLES = [
    line
    for command in (typer.main.get_command(app), *COMMANDS.values())
    for line in re.findall(r"\[cyan\](bench .*?)\[/cyan\]", command.epilog or "")
]


@pytest.mark.parametrize(
    "words", [("--help",), ("--version",), ("run", "--help"), ("list",), ("list", "methods", "--json"), ("show", "mnist")]
)
def test_what_only_tells_loads_nothing_heavy(words: tuple[str, ...]) -> None:
    code, modules, output = modules_after(*words)
    assert code == 0
    assert output.strip()
    assert not HEAVY & modules


def test_version_is_that_of_the_installed_package(bench: Bench) -> None:
    assert bench("--version").out == f"clusterbench {version('clusterbench')}\n"


def test_help_names_every_command_and_begins_with_the_command_of_a_new_user(bench: Bench) -> None:
    ran = bench("--help")
    assert ran.code == 0
    assert all(name in ran.out for name in COMMANDS)
    assert ran.out.index("bench run --method iic --dataset digits") < ran.out.index("bench doctor")


def test_no_command_at_all_shows_the_help(bench: Bench) -> None:
    ran = bench()
    assert "Examples" in ran.out + ran.err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_ends_its_help_with_examples_of_itself(bench: Bench, name: str) -> None:
    ran = bench(name, "--help")
    assert ran.code == 0
    assert f"bench {name}" in ran.out.partition("Examples")[2]


@pytest.mark.parametrize("line", EXAMPLES)
def test_every_example_is_a_command_line_that_parses(line: str) -> None:
    words = shlex.split(re.split(r" [>|] ", line)[0])[1:]
    COMMANDS[words[0]].make_context(words[0], words[1:])


def test_completion_offers_registered_names() -> None:
    assert complete_methods("k") == ["kmeans", "kmeans-segmentation"]
    assert complete_datasets("d") == ["digits"]
    assert {"iic", "digits", "quick"} <= set(complete_names(""))
    assert complete_names("mni") == ["mnist"]
