"""The contact sheet as a browser's parser sees it: nothing from outside, nothing unescaped, no picture changed."""

from __future__ import annotations

import base64
import io
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clusterbench.results.sheet import Cluster, Sheet, picture, render, strips, write

random = np.random.default_rng(0)
NASTY = '"><script>alert(1)</script>.png'


class Seen(HTMLParser):
    """Collects elements, their attributes and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def grey(side: int = 8) -> np.ndarray:
    return random.integers(0, 256, (1, side, side)).astype(np.uint8)


def sheet(name: str = "a.png", note: str = "a note", sure: float | None = 0.75) -> Sheet:
    most = [picture(grey(), name, sure)]
    clusters = (
        Cluster(1, 30, 0.75, label="cat", confidence=sure, facts=("overlap 80 %",), strips=strips(most, [], [])),
        Cluster(0, 10, 0.25),
        Cluster(2, 0, 0.0),
    )
    return Sheet(f"Images of {name}", "A summary.", (("images", "40"),), (note,), clusters)


def opened(uri: str) -> Image.Image:
    kind, content = uri.split(",", 1)
    assert kind in ("data:image/png;base64", "data:image/jpeg;base64")
    return Image.open(io.BytesIO(base64.b64decode(content)))


def test_it_asks_nothing_of_the_network_and_runs_no_script() -> None:
    seen = Seen(render(sheet()))
    assert not seen.all("script") and not seen.all("link")
    for _, attributes in seen.tags:
        assert (attributes.get("src") or "data:").startswith("data:")
        assert (attributes.get("href") or "#").startswith("#")
        assert not any(name.startswith("on") for name in attributes)


def test_names_stay_text_wherever_they_stand() -> None:
    seen = Seen(render(sheet(name=NASTY, note=NASTY)))
    assert not seen.all("script")
    assert seen.all("img")[0]["alt"] == NASTY
    assert seen.text.count(NASTY) == 4  # in the title, the heading, the note and under the picture


def test_every_cluster_has_a_row_and_only_those_with_pictures_a_link_and_a_section() -> None:
    seen = Seen(render(sheet()))
    assert len([each for each in seen.all("th") if each.get("scope") == "row"]) == 3
    assert [each["href"] for each in seen.all("a") if each["href"] != "#clusters"] == ["#cluster-1"]
    assert [each["id"] for each in seen.all("section")] == ["cluster-1"]
    assert "75.0 %" in seen.text and "overlap 80 %" in seen.text and "0.750" in seen.text


def test_without_confidence_nothing_speaks_of_it() -> None:
    text = Seen(render(sheet(sure=None))).text
    assert "Confidence" not in text and "confidence" not in text


def test_small_images_are_kept_to_the_last_bit() -> None:
    pixels = grey(8)
    assert np.array_equal(np.asarray(opened(picture(pixels, "x").uri)), pixels[0])
    colour = random.integers(0, 256, (3, 28, 28)).astype(np.uint8)
    assert np.array_equal(np.asarray(opened(picture(colour, "x").uri)), colour.transpose(1, 2, 0))


def test_large_images_become_small_ones_of_the_same_look() -> None:
    pixels = np.zeros((3, 200, 100), np.uint8)
    pixels[0], pixels[2, 100:] = 200, 120
    image = opened(picture(pixels, "x").uri)
    assert image.size == (48, 96)
    found = np.asarray(image, np.int64)
    assert np.abs(found[10, 20] - [200, 0, 0]).max() < 12 and np.abs(found[80, 20] - [200, 0, 120]).max() < 12


def test_infrared_is_left_out_of_a_picture() -> None:
    pixels = random.integers(0, 256, (4, 8, 8)).astype(np.uint8)
    assert np.array_equal(np.asarray(opened(picture(pixels, "x").uri)), pixels[:3].transpose(1, 2, 0))


@pytest.mark.parametrize("name", ["caf\u00e9.png", "bad\udcff.png"])
def test_any_file_name_can_be_written(name: str, tmp_path: Path) -> None:
    path = tmp_path / "sheet.html"
    size = write(sheet(name=name), path)
    assert size == path.stat().st_size
    assert "caf\u00e9" in path.read_text("utf-8") or "bad?.png" in path.read_text("utf-8")
