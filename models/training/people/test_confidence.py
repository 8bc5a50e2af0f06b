"""Checks of the fit and the measures of confidences. Needs no data folder."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from answers import UNFITTED, Person, logit, sigmoid
from confidence import (
    BINS,
    Samples,
    auroc,
    calibration_error,
    fit,
    held_out_people,
    measured,
    of_renders,
    perfect_error,
    toml_of,
    write_toml,
)
from export_networks import export
from figures import read, record, render
from net import PersonNet
from photos import HELD_OUT_EVERY, IndexFault, Photo
from photos import Person as Labelled
from shards import Writer

BIAS = np.where(np.arange(17) < 5, 0.8, -0.6)


def made(n: int, seed: int, seen: float = 0.5, place: float = 1.2) -> Samples:
    """Keypoints that are right with the chance that a fit with these weights gives."""
    rng = np.random.default_rng(seed)
    visible, chance, joint = rng.normal(1, 2, n), rng.uniform(0.02, 0.98, n), rng.integers(0, 17, n)
    right = rng.random(n) < sigmoid(seen * visible + place * logit(chance) + BIAS[joint])
    return Samples(visible, chance, joint, right, visible > 0)


def test_the_fit_finds_the_chances_that_samples_were_made_with() -> None:
    found = fit([(made(40000, 1), 1.0)])
    assert found.seen == pytest.approx(0.5, abs=0.05) and found.place == pytest.approx(1.2, abs=0.08)
    np.testing.assert_allclose(found.bias, BIAS, atol=0.15)
    other = made(20000, 2)
    assert calibration_error(other.confidence(found), other.right) < 0.015
    assert calibration_error(other.confidence(UNFITTED), other.right) > 0.1


def test_without_groups_all_joints_have_the_same_bias() -> None:
    assert len(set(fit([(made(2000, 1), 1.0)], groups=False).bias)) == 1


def test_a_chance_never_counts_against_itself() -> None:
    found = fit([(made(20000, 1, seen=-0.4), 1.0)])
    assert found.seen == 0.0 and found.place > 0.8


def test_a_part_weighs_what_it_is_given_however_small() -> None:
    wrong = made(300, 3)
    wrong.right[:] = False
    many, few = fit([(made(9000, 1), 0.5), (wrong, 0.5)]), fit([(made(9000, 1), 0.99), (wrong, 0.01)])
    s = made(3000, 4)
    assert s.confidence(many).mean() < 0.6 * s.confidence(few).mean()


def test_a_kind_of_joint_that_is_always_right_keeps_the_fit_finite() -> None:
    s = made(3000, 1)
    s.right[s.joint < 5] = True
    found = fit([(s, 1.0)])
    assert all(math.isfinite(b) for b in found.bias) and found.bias[0] > found.bias[16]


def test_calibration_error_is_the_distance_of_bins_of_equal_mass() -> None:
    confidence = np.repeat(np.linspace(0.1, 0.9, BINS), 10)
    right = np.zeros(150, bool)
    assert calibration_error(confidence, right) == pytest.approx(0.5)
    rng = np.random.default_rng(0)
    sure = rng.random(30000)
    assert calibration_error(sure, rng.random(30000) < sure) < 0.015
    # With few samples even a right confidence shows an error, and that is what the measure is compared with.
    assert 0.03 < perfect_error(sure[:600]) < 0.1


def test_auroc_counts_ties_half() -> None:
    right = np.array([True, True, False, False])
    assert auroc(np.array([0.9, 0.8, 0.2, 0.1]), right) == 1.0
    assert auroc(np.array([0.5, 0.5, 0.5, 0.5]), right) == 0.5
    assert auroc(np.array([0.5]), np.array([True])) is None


def test_hidden_and_seen_keypoints_are_measured_apart() -> None:
    s = made(1000, 1)
    m = measured(s, UNFITTED)
    assert m["seen"]["keypoints"] + m["hidden"]["keypoints"] == 1000
    assert m["hidden"]["confidence"] < 0.5 < m["seen"]["confidence"]
    assert len(m["curve"]) == BINS


def test_the_fit_is_written_into_the_description_of_a_heatmap_network(tmp_path: Path) -> None:
    found = fit([(made(1000, 1), 1.0)])
    toml = tmp_path / "model.toml"
    decoder = 'decoder = { type = "heatmap", values = "logits", presence = { score = 1.0 } }'
    text = f'name = "x"\n{decoder}\n\n[network]\nfile = "p.onnx"\n'
    toml.write_text(text)
    write_toml(toml, found)
    write_toml(toml, found)
    read = tomllib.loads(toml.read_text())
    assert read["decoder"]["confidence"]["seen"] == pytest.approx(found.seen, abs=1e-4)
    assert len(read["decoder"]["confidence"]["bias"]) == 17 and read["network"]["file"] == "p.onnx"
    assert toml_of(found) in toml.read_text() and read["decoder"]["presence"] == {"score": 1.0}
    toml.write_text('decoder = { type = "movenet" }\n')
    with pytest.raises(ValueError, match="heatmap"):
        write_toml(toml, found)


def test_only_sure_keypoints_of_photographs_kept_from_training_count(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "x.png"), np.zeros((300, 300, 3), np.uint8))
    k = np.full((17, 3), 100, np.float32)
    k[:, 2] = [2, 1, 0] * 5 + [2, 2]
    names = [f"{n}.png" for n in range(400)]
    photos = [Photo(n, 300, 300, "", "", "", [Labelled((50.0, 20.0, 100.0, 200.0), k)]) for n in names]
    for photo in photos:
        if photo.held_out:
            (tmp_path / photo.file).write_bytes((tmp_path / "x.png").read_bytes())
    kept = held_out_people([(tmp_path, photos)])
    assert 0.3 * 400 / HELD_OUT_EVERY < len(kept.people) < 3 * 400 / HELD_OUT_EVERY
    np.testing.assert_array_equal(kept.labelled[0], k[:, 2] == 2)
    assert kept.torsos[0] == pytest.approx(70.0)
    with pytest.raises(IndexFault, match="no person"):
        held_out_people([(tmp_path, [])])


def test_hidden_joints_and_joints_outside_the_crop_count_in_renders(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    with Writer(tmp_path / "s") as writer:
        for n in range(4):
            k = np.concatenate([rng.uniform(40, 100, (17, 2)), np.ones((17, 2))], 1)
            k[3, 2] = 0
            k[16] = 400, 400, 0, 0
            joints = np.full((17, 3), np.nan) if n == 2 else np.zeros((17, 3))
            row = {"image": np.zeros((192, 144, 3)), "keypoints": k, "mask": np.zeros((48, 36)), "joints": joints}
            writer.add({**row, "rays": np.zeros((27, 17, 2)), "camera": np.ones(4)})
    torch.manual_seed(0)
    export(PersonNet(), (1, 3, 192, 144), ["heatmaps", "visible", "features", "mask"], tmp_path / "p.onnx")
    s = of_renders(Person(tmp_path / "p.onnx"), tmp_path / "s", 0, 4)
    assert len(s) == 3 * 17  # a crop without anybody has none
    assert not s.seen[s.joint == 3].any() and not s.right[s.joint == 16].any()
    with pytest.raises(ValueError, match="4 crops, wanted 5"):
        of_renders(Person(tmp_path / "p.onnx"), tmp_path / "s", 0, 5)


def test_the_page_shows_the_reliability_of_the_fit(tmp_path: Path) -> None:
    s = made(2000, 1)
    checks = {"other renders": {"chance of being seen": measured(s, UNFITTED), "fitted": measured(s, fit([(s, 1.0)]))}}
    record(tmp_path / "people.json", "confidence", {"people": 1}, {"new": {"sha256": "0", "checks": checks}})
    page = render(read(tmp_path / "people.json"))
    assert "| new | other renders | fitted | 2000 |" in page
    assert "Reliability of new, fitted, other renders:" in page
    assert page.count("\n| right |") == 1
