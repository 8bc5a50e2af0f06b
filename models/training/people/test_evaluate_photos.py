"""Checks of the figures of networks that see people. Needs no data folder."""

from __future__ import annotations

import argparse
import hashlib
import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from answers import (
    UNFITTED,
    Answer,
    BlazePose,
    Fit,
    Merged,
    NetworkFault,
    Person,
    answers,
    cut,
    decode,
    fit_beside,
    lean_of,
    logit,
)
from evaluate_photos import JOINTS, LABELS_MIN, Subjects, coco_ap, figures_of, named, pck, subjects, torso_of
from export_networks import export
from figures import FiguresFault, read, record, render, shown
from net import PersonNet
from photos import IndexFault, read_index

POSE = np.array(
    [
        [0, -90], [4, -95], [-4, -95], [9, -93], [-9, -93], [20, -70], [-20, -70], [30, -45], [-30, -45], [33, -20], [-33, -20],
        [13, -10], [-13, -10], [14, 30], [-14, 30], [15, 70], [-15, 70],
    ],
    np.float64,
)  # fmt: skip
"""Keypoints of a person who stands, pixels from the middle."""
COLOURS = np.array([[15 * j + 10, 255 - 15 * j, 40 + 60 * (j % 4)] for j in range(17)], np.uint8)


def dotted(lean: float) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """A picture with a dot of its own colour at each keypoint of a person who leans, and the keypoints."""
    turn = np.array([[math.cos(lean), -math.sin(lean)], [math.sin(lean), math.cos(lean)]])
    points = np.round(POSE @ turn.T + [160, 160])
    picture = np.zeros((320, 320, 3), np.uint8)
    for point, colour in zip(points, COLOURS, strict=True):
        cv2.circle(picture, (int(point[0]), int(point[1])), 2, colour.tolist(), -1)
    return picture, points


class Dots:
    """Finds the dots of `dotted`: a network that is right in any crop, and knows how far a person leans in it."""

    size = (288, 384)

    def __init__(self) -> None:
        self.leans: list[float] = []

    def __call__(self, crops: NDArray[np.uint8]) -> Answer:
        """As `Network`."""
        xy = np.zeros((len(crops), 17, 2))
        for n, crop in enumerate(crops):
            for j, colour in enumerate(COLOURS):
                apart = np.abs(crop.astype(int) - colour).sum(-1)
                weight = np.where(apart < 14, 1.0, 0.0)
                ys, xs = np.mgrid[: crop.shape[0], : crop.shape[1]]
                xy[n, j] = (weight * xs).sum() / weight.sum(), (weight * ys).sum() / weight.sum()
        answer = Answer(xy, np.ones((len(crops), 17)), np.ones((len(crops), 17)))
        self.leans += lean_of(answer).tolist()
        return answer


def hull(points: NDArray[np.float64]) -> tuple[float, float, float, float]:
    lo, hi = points.min(0) - 4, points.max(0) + 4
    return float(lo[0]), float(lo[1]), float(hi[0] - lo[0]), float(hi[1] - lo[1])


@pytest.mark.parametrize("lean", [0.0, 0.7, -1.5, 2.8])
def test_answers_are_in_the_photograph_and_a_second_crop_is_upright(lean: float) -> None:
    picture, points = dotted(lean)
    net = Dots()
    found = answers(net, [(picture, hull(points))], turn_from=0.0)
    np.testing.assert_allclose(found.xy[0], points, atol=1.5)
    assert net.leans[0] == pytest.approx(lean, abs=0.05)
    if lean:
        assert net.leans[1] == pytest.approx(0, abs=0.05)


def test_a_crop_is_turned_only_from_the_lean_given() -> None:
    picture, points = dotted(0.5)
    net = Dots()
    answers(net, [(picture, hull(points))], turn_from=0.6)
    assert len(net.leans) == 1


def test_a_turned_crop_holds_the_whole_person() -> None:
    picture, points = dotted(0.8)
    _, m = cut(picture, hull(points), (144, 192), 0.8)
    inside = (points - m[:, 2]) @ np.linalg.inv(m[:, :2]).T
    assert (inside > 0).all() and (inside < [143, 191]).all()


def test_a_merged_answer_of_a_right_network_is_its_answer() -> None:
    class Mirrored(Dots):
        """Knows left from right in a mirror too, as a network that has learnt so exchanges them."""

        def __call__(self, crops: NDArray[np.uint8]) -> Answer:
            answer = super().__call__(crops)
            flipped = answer.xy[0, 5, 0] < answer.xy[0, 6, 0]
            return Answer(answer.xy[:, MIRRORED] if flipped else answer.xy, answer.confidence, answer.place)

    MIRRORED = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
    picture, points = dotted(0.2)
    found = answers(Merged(Mirrored()), [(picture, hull(points))])
    np.testing.assert_allclose(found.xy[0], points, atol=1.5)


def test_a_place_is_the_mean_around_the_peak_also_at_the_border() -> None:
    chance = np.zeros((1, 2, 48, 36))
    chance[0, 0, 20, 10], chance[0, 0, 20, 12], chance[0, 0, 40, 30] = 0.5, 0.25, 0.25
    chance[0, 1, 0, 0] = 1.0
    xy, place = decode(chance, 4.0)
    np.testing.assert_allclose(xy[0], [[4 * (10 + 2 / 3) + 1.5, 81.5], [1.5, 1.5]])
    np.testing.assert_allclose(place[0], [0.75, 1.0])
    xy, place = decode(chance, 4.0, 1)
    np.testing.assert_allclose((xy[0, 0, 0], place[0, 0]), (41.5, 0.5))


def test_an_exported_network_answers_in_crop_pixels_and_its_mirror_agrees(tmp_path: Path) -> None:
    torch.manual_seed(0)
    export(PersonNet(), (1, 3, 192, 144), ["heatmaps", "visible", "features", "mask"], tmp_path / "p.onnx")
    crops = np.random.default_rng(0).integers(0, 255, (2, 192, 144, 3), np.uint8)
    plain, mirrored = Person(tmp_path / "p.onnx"), Person(tmp_path / "p.onnx", mirror=True)
    assert plain.size == (144, 192)
    a, b = mirrored(crops), mirrored(np.ascontiguousarray(crops[:, :, ::-1]))
    order = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
    np.testing.assert_allclose(a.xy[..., 0], 143 - b.xy[:, order, 0], atol=1e-3)
    assert np.abs(a.xy - plain(crops).xy).max() > 1e-3


def test_the_fit_is_read_where_it_belongs_to_the_network(tmp_path: Path) -> None:
    network, toml = tmp_path / "p.onnx", tmp_path / "model.toml"
    network.write_bytes(b"weights")
    assert fit_beside(network) == UNFITTED
    fit = f"confidence = {{ seen = 0.5, place = 2.0, bias = {[0.1] * 17} }}"
    text = f'decoder = {{ type = "heatmap", values = "logits", {fit} }}\n[network]\nsha256 = "HASH"\n'
    toml.write_text(text.replace("HASH", hashlib.sha256(b"weights").hexdigest()))
    read_fit = fit_beside(network)
    assert read_fit == Fit(0.5, 2.0, (0.1,) * 17)
    toml.write_text(text.replace("HASH", "0" * 64))
    assert fit_beside(network) == UNFITTED
    assert read_fit.confidence(np.zeros(17), np.full(17, 0.5))[0] == pytest.approx(1 / (1 + math.exp(-0.1)))
    assert np.isfinite(logit(np.array([0.0, 1.0]))).all()


def people(count: int = 6) -> Subjects:
    """People of three heights whose labels are `POSE`; their right wrists are hidden, their ankles not labelled."""
    heights = [100.0, 200.0, 400.0] * (count // 3)
    points = np.stack([POSE * (h / 190) + 300 for h in heights])
    pictures = [(np.zeros((4, 4, 3), np.uint8), (0.0, 0.0, h / 2, h)) for h in heights]
    labelled = np.ones((count, 17), bool)
    labelled[:, 15:] = False
    visible = labelled.copy()
    visible[:, 10] = False
    torsos = np.array([torso_of(q, v, h) for q, v, h in zip(points, labelled, heights, strict=True)])
    return Subjects(pictures, points, labelled, visible, torsos)


def test_figures_count_what_is_labelled() -> None:
    s = people()
    answer = Answer(s.points.copy(), np.ones((6, 17)), np.ones((6, 17)))
    answer.xy[:, 15:] = 0  # not labelled: neither right nor wrong
    answer.xy[:, 10] += 0.15 * s.torsos[:, None]  # hidden, and 0.21 torso lengths off
    answer.xy[0, 0] += 1000
    f = figures_of(s, answer)
    near = f["pck_0.2"]
    assert near["keypoints"] == 90 and near["all"] == pytest.approx(83 / 90, abs=1e-4)
    assert near["visible"] == pytest.approx(83 / 84, abs=1e-4)
    assert near["joints"]["wrists"] == {"all": 0.5, "keypoints": 12}
    assert near["joints"]["ankles"] == {"all": None, "keypoints": 0}
    assert near["heights"]["80 to 150"] == {"all": pytest.approx(27 / 30, abs=1e-4), "keypoints": 30}
    assert near["interval"][0] < near["all"] < near["interval"][1]
    assert pck(s, s.errors(answer.xy), 0.25)["joints"]["wrists"]["all"] == 1.0
    assert sum(len(joints) for joints in JOINTS.values()) == 17


def test_average_precision_is_one_for_labels_and_less_for_errors() -> None:
    s = people()
    answer = Answer(s.points.copy(), np.ones((6, 17)), np.ones((6, 17)))
    assert coco_ap(s, answer) == {"AP": 1.0, "AP50": 1.0, "AP75": 1.0}
    answer.xy[:3] += 500
    worse = coco_ap(s, answer)
    assert 0.2 < worse["AP50"] < 0.6


def test_a_torso_without_a_hip_is_a_share_of_the_box() -> None:
    known = np.ones(17, bool)
    assert torso_of(POSE, known, 200.0) == 60.0
    known[11] = False
    assert torso_of(POSE, known, 200.0) == 70.0


def test_small_people_and_people_with_few_labels_do_not_count(tmp_path: Path) -> None:
    picture, points = dotted(0.0)
    cv2.imwrite(str(tmp_path / "a.png"), picture)

    def person(box: list[float], labels: int) -> dict[str, object]:
        k = np.concatenate([points, np.zeros((17, 1))], 1)
        k[:labels, 2] = 2
        return {"box": box, "keypoints": k.ravel().tolist()}

    entry: dict[str, Any] = {"file": "a.png", "width": 320, "height": 320}
    small, few, good = [1.0, 1.0, 30.0, 79.0], [1.0, 1.0, 99.0, 200.0], [1.0, 1.0, 99.0, 80.0]
    entry["people"] = [person(small, 17), person(few, LABELS_MIN - 1), person(good, LABELS_MIN)]
    (tmp_path / "index.json").write_text(json.dumps({"frames": [entry]}))
    s = subjects(tmp_path, read_index(tmp_path))
    assert [box for _, box in s.people] == [(1.0, 1.0, 99.0, 80.0)]
    entry["people"] = []
    (tmp_path / "index.json").write_text(json.dumps({"frames": [entry]}))
    with pytest.raises(IndexFault, match="no person of 80 px"):
        subjects(tmp_path, read_index(tmp_path))


def test_names_and_files_are_checked(tmp_path: Path) -> None:
    (tmp_path / "p.onnx").write_bytes(b"")
    assert named(f"new={tmp_path}/p.onnx") == ("new", tmp_path / "p.onnx")
    for wrong in ("new", "=a", "new=", f"new={tmp_path}/q.onnx"):
        with pytest.raises(argparse.ArgumentTypeError):
            named(wrong)


def test_figures_of_other_networks_are_kept_on_the_same_photographs_only(tmp_path: Path) -> None:
    path = tmp_path / "lab" / "people.json"
    s = people()
    f = figures_of(s, Answer(s.points, np.ones((6, 17)), np.ones((6, 17))))
    on = {"people": 6, "keypoints": 90, "height_px_min": 80, "labels_min": 8}
    record(path, "person", on, {"old": {"sha256": "1", "ways": {"upright": f}}})
    record(path, "person", on, {"new": {"sha256": "2", "ways": {"upright": f}}})
    page = render(read(path))
    assert "| old | upright | 1.000 (1.00 to 1.00)" in page and "| new | upright |" in page
    assert "| ankles (0) |" in page and "| - |" in page
    record(path, "person", {**on, "people": 7}, {"newer": {"sha256": "3", "ways": {"upright": f}}})
    assert list(read(path)["person"]["networks"]) == ["newer"]
    path.write_text("[")
    with pytest.raises(FiguresFault, match="people.json"):
        read(path)


def test_commands_name_no_folder_of_this_machine() -> None:
    assert shown("/somewhere/deep/people/eval") == "people/eval"
    assert shown("new=/somewhere/models/person.onnx") == "new=models/person.onnx"
    assert shown("--mirror") == "--mirror" and shown("a/b/c.onnx") == "a/b/c.onnx"
    here = Path(__file__).resolve()
    assert shown(str(here)) == "models/training/people/test_evaluate_photos.py"


def test_a_file_that_is_not_the_network_wanted_is_one_clear_line(tmp_path: Path) -> None:
    broken, script = tmp_path / "p.onnx", tmp_path / "python"
    broken.write_bytes(b"no network")
    with pytest.raises(NetworkFault, match="p.onnx: does not open as an ONNX network: [^\\n]*$"):
        Person(broken)
    net = PersonNet()
    export(net, (1, 3, 192, 144), ["heatmaps", "seen", "features", "mask"], broken)
    with pytest.raises(
        NetworkFault, match="outputs heatmaps, seen, features, mask; wanted 4 axes and heatmaps, visible"
    ):
        Person(broken)
    with pytest.raises(NetworkFault, match="python: does not start"):
        BlazePose(broken, str(script))(np.zeros((1, 256, 256, 3), np.uint8))
    script.write_text("#!/bin/sh\necho first >&2; echo last >&2; exit 3\n")
    script.chmod(0o755)
    with pytest.raises(NetworkFault, match="failed: last$"):
        BlazePose(broken, str(script))(np.zeros((1, 256, 256, 3), np.uint8))
