"""Sparklines stay below the length at which Dagster's page hides Markdown behind a click."""

import random
import re
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest

from gpu_timing_assets.dagster_app.descriptions.sparkline import histogram, sparkline


@pytest.mark.parametrize(
    "values",
    [
        [],
        [0.0],
        [1.0] * 5,
        [float(i) for i in range(10_000)],
        [-3.0, 2.0],
        [random.Random(7).expovariate(1) for _ in range(997)],
    ],
)
def test_is_short_whatever_the_data(values: list[float]):
    assert len(sparkline(values, "time between tokens").value) < 1000


def test_markdown_takes_it_for_an_image():
    """A space in the address and Markdown shows the source instead."""
    image, caption = sparkline([1.0, 2.0], "arrivals over 7 s").value.split("\n\n")
    assert re.fullmatch(r"!\[arrivals over 7 s\]\(data:image/svg\+xml,[^\s()<>\"]+\)", image)
    svg = ElementTree.fromstring(unquote(image.split(",", 1)[1].removesuffix(")")))
    assert svg.tag.endswith("svg")
    assert caption == "arrivals over 7 s"


def test_the_highest_bar_fills_the_height_and_the_others_follow():
    assert "v-30" in sparkline([1.0, 2.0], "x").value
    assert "v-15" in sparkline([1.0, 2.0], "x").value


def test_peaks_survive_the_reduction():
    values = [1.0] * 1000
    values[517] = 100.0
    assert "v-30" in sparkline(values, "x").value
    assert sparkline(values, "x").value.count("v-") == 32


def test_histogram_counts_everything():
    assert sum(histogram([1.0, 2.0, 3.0, 3.0])) == 4
    assert histogram([5.0, 5.0])[0] == 2
    assert histogram([]) == []
