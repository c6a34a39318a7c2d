"""Names to objects: ours from card files, other people's from entry points, and clear words for everything else."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from clusterbench.datasets.registry import NotFound, Registry

MODULE = """
from {package} import things
@things.register("wasp")
class Wasp: ...
"""


def test_a_damaged_card_file_is_named(room: Registry[type]) -> None:
    (room.folder / "stingers.yaml").write_text("wasp: {title: [Wasp}")
    with pytest.raises(NotFound, match=r"card file .*stingers\.yaml is damaged .*line 1"):
        room.names()


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Registry[type]:
    """A room with the module `stingers` (name `wasp`), one card whose module forgot it, and a foreign package `zoo`."""
    package = f"room_{abs(hash(request.node.name))}"
    folder = tmp_path / package
    folder.mkdir()
    (folder / "__init__.py").write_text("things = None")
    (folder / "stingers.py").write_text(MODULE.format(package=package))
    (folder / "stingers.yaml").write_text("wasp: {title: Wasp, summary: yellow}\nbee: {title: Bee, summary: forgotten}\n")
    (folder / "empty.yaml").write_text("")
    foreign = tmp_path / "zoo-1.0.dist-info"
    foreign.mkdir()
    (foreign / "METADATA").write_text("Metadata-Version: 2.1\nName: zoo\nVersion: 1.0\n")
    (foreign / "entry_points.txt").write_text("[test.things]\nant = zoo_ants:Ant\nmoth = zoo_ants:Missing\n")
    (tmp_path / "zoo_ants.py").write_text("class Ant: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "zoo_ants", raising=False)
    registry: Registry[type] = Registry("thing", package, folder, "test.things")
    monkeypatch.setattr(f"{package}.things", registry)
    return registry


def test_names_are_ours_in_order_then_those_of_others_then_those_of_this_process(room: Registry[type]) -> None:
    room.register("aphid")(type("Aphid", (), {}))
    assert room.names() == ["bee", "wasp", "ant", "moth", "aphid"]


def test_listing_and_cards_import_nothing(room: Registry[type]) -> None:
    assert [room.card(name)["title"] for name in room.names()] == ["Bee", "Wasp", "ant", "moth"]
    assert room.card("ant")["summary"] == "from the package zoo"
    assert f"{room.package}.stingers" not in sys.modules
    assert "zoo_ants" not in sys.modules


def test_ours_is_imported_when_it_is_asked_for(room: Registry[type]) -> None:
    assert room.get("wasp").__name__ == "Wasp"
    assert room.get("wasp") is room.get("wasp")


def test_an_installed_package_adds_a_name(room: Registry[type]) -> None:
    assert room.get("ant").__name__ == "Ant"


def test_a_foreign_name_that_cannot_be_loaded_says_whose_it_is(room: Registry[type]) -> None:
    with pytest.raises(NotFound, match="'moth', from the package zoo, cannot be loaded: AttributeError"):
        room.get("moth")


def test_a_card_without_a_registration_is_reported(room: Registry[type]) -> None:
    with pytest.raises(NotFound, match=r"'bee' has a card but its module room_\d+.stingers registers no such name"):
        room.get("bee")


@pytest.mark.parametrize("ask", ["get", "card"])
def test_an_unknown_name_gets_the_nearest_and_where_to_look(room: Registry[type], ask: str) -> None:
    with pytest.raises(NotFound) as refusal:
        getattr(room, ask)("wsap")
    assert str(refusal.value) == "Unknown thing 'wsap'. Did you mean 'wasp'? See 'bench list things'."


def test_a_name_like_no_other_gets_the_whole_list(room: Registry[type]) -> None:
    with pytest.raises(NotFound, match="Known: bee, wasp, ant, moth"):
        room.get("quetzalcoatl")


def test_a_second_meaning_for_a_name_is_refused(room: Registry[type]) -> None:
    room.register("fly")(int)
    with pytest.raises(ValueError, match="'fly' is taken by builtins.int; builtins.str needs another name"):
        room.register("fly")(str)


def test_the_same_thing_may_be_registered_again_as_a_reloaded_module_does(room: Registry[type]) -> None:
    first, second = (type("Fly", (), {"__module__": "insects"}) for _ in range(2))
    room.register("fly")(first)
    room.register("fly")(second)
    assert room.get("fly") is second


def test_a_card_file_beside_a_foreign_module_fills_its_card(room: Registry[type], tmp_path: Path) -> None:
    (tmp_path / "zoo_ants.yaml").write_text("ant: {title: Ant, summary: red}\n")
    room.get("ant")
    assert room.card("ant") == {"title": "Ant", "summary": "red"}
