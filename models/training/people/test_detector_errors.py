"""Checks of what is measured for the simulated detector. Needs no data folder."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest

from detector_errors import LAGS_S, exchanged, mixture, runs, section, slow_part, write


def test_a_tail_is_told_from_the_core() -> None:
    rng = np.random.default_rng(1)
    plane = rng.standard_normal((6000, 2)) * np.where(rng.random((6000, 1)) < 0.2, 5.0, 1.0) * 0.8
    share, factor, scale = mixture(np.hypot(*plane.T))
    assert share == pytest.approx(0.2, abs=0.03)
    assert factor == pytest.approx(5, rel=0.2) and scale == pytest.approx(0.8, abs=0.06)


def test_the_part_of_an_error_that_lasts_is_found_with_its_time() -> None:
    share, lasts_s = slow_part(0.6 * np.exp(-LAGS_S / 0.5))
    assert share == pytest.approx(0.6, abs=0.02) and lasts_s == pytest.approx(0.5, rel=0.08)


def test_stretches_have_the_length_of_their_frames() -> None:
    time = np.arange(8) / 10
    assert runs(np.array([1, 1, 0, 0, 1, 0, 0, 1], bool), time) == pytest.approx([0.2, 0.1, 0.1])
    assert runs(np.zeros(8, bool), time) == []


def test_exchanged_legs_are_found_and_legs_together_are_not() -> None:
    truth = np.zeros((4, 17, 2))
    truth[:, [13, 15], 0], truth[:, [14, 16], 0] = 40.0, 0.0
    truth[:, [15, 16], 1] = 50.0
    truth[:, [9, 10], 0] = [[40.0, 0.0]]
    said = np.concatenate([truth, np.ones((4, 17, 1))], 2)
    said[1:3, [13, 14, 15, 16]] = said[1:3, [14, 13, 16, 15]]
    rows = {"truth": truth, "said": said, "height": np.full(4, 100.0)}
    usable = np.ones((4, 17), bool)
    time = np.arange(4) / 10
    assert exchanged(rows, np.arange(4), usable, time) == pytest.approx([0.2])
    rows["height"] = np.full(4, 1000.0)  # legs 4 % of the person apart
    assert exchanged(rows, np.arange(4), usable, time) == []


def test_a_detector_takes_the_place_of_the_one_of_its_name(tmp_path: Path) -> None:
    network, path = tmp_path / "person.onnx", tmp_path / "detectors.toml"
    network.write_bytes(b"x")
    path.write_text("# How detectors err.\n")
    for name, tail in (("measured", 2.0), ("other", 3.0), ("measured", 4.0)):
        write(path, name, section(name, network, {"tail": tail, "swap": [0.1, 0.2]}))
    text = path.read_text()
    assert tomllib.loads(text) == {
        "measured": {"tail": 4.0, "swap": [0.1, 0.2]},
        "other": {"tail": 3.0, "swap": [0.1, 0.2]},
    }
    assert text.startswith("# How detectors err.\n") and text.count("sha256") == 2
