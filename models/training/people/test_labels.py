"""Checks of the labels that come from COCO's and VOC's text files. Needs no data folder."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from coco_labels import frame_of, length_of, rows_of, size_of
from photos import read_index
from voc_boxes import boxes_of

SIZE = (427, 640)


def line_of(rng: np.random.Generator) -> str:
    """A person in a photograph of `SIZE`, as YOLO's text has it."""
    k = np.stack([rng.integers(100, 300, 17), rng.integers(100, 600, 17), rng.integers(1, 3, 17)], 1)
    k[3] = 0
    box = [200 / SIZE[0], 350 / SIZE[1], 210 / SIZE[0], 510 / SIZE[1]]
    points = [v for x, y, seen in k for v in (x / SIZE[0], y / SIZE[1], seen)]
    return " ".join(["0", *(f"{v:.6f}" for v in (*box, *points))])


def test_the_true_size_of_a_squeezed_photograph_is_the_one_that_makes_pixels_whole() -> None:
    rng = np.random.default_rng(1)
    fractions = np.round(rng.integers(1, 427, 40) / 427, 6)
    assert length_of(fractions, range(150, 641)) == 427
    assert length_of(fractions[:2], range(150, 641)) is None
    assert length_of(rng.random(40), range(150, 641)) is None


def test_a_squeezed_photograph_gets_its_proportion_and_its_people_back(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "images").mkdir()
    labels = tmp_path / "000000000009.txt"
    labels.write_text(line_of(np.random.default_rng(2)) + "\n")
    photo = tmp_path / "images" / "000000000009_jpg.rf.1.jpg"
    cv2.imwrite(str(photo), np.zeros((416, 416, 3), np.uint8))
    beside = tmp_path / "labels" / "000000000009_jpg.rf.1.txt"
    beside.write_text("0 0.468384 0.546875 0.491803 0.796875\n0 0.9 0.1 0.05 0.1\n")  # the same person, and another

    rows = rows_of(labels)
    assert size_of(rows[:, 5:].reshape(-1, 17, 3)) == SIZE
    done = frame_of("000000000009", photo, labels)
    assert done is not None
    frame, picture = done
    assert picture.shape == (448, 299, 3) and len(frame["people"]) == 1 and len(frame["other_boxes"]) == 1
    cv2.imwrite(str(tmp_path / frame["file"]), picture)
    (tmp_path / "index.json").write_text(json.dumps({"frames": [frame]}))
    (read,) = read_index(tmp_path)
    k = rows[0, 5:].reshape(17, 3)
    assert read.by_hand and (read.people[0].keypoints[:, 2] == k[:, 2]).all()
    assert np.allclose(read.people[0].keypoints[:, 0], k[:, 0] * 299, atol=0.1)


def test_lines_of_another_form_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "000000000009.txt"
    path.write_text("0 0.5 0.5 0.1 0.1\n")
    with pytest.raises(ValueError, match=r"000000000009\.txt:1: 5 numbers, wanted 56"):
        rows_of(path)
    with pytest.raises(ValueError, match="4 numbers, wanted five for each object"):
        boxes_of("a.jpg 1 2 3 4")


def test_people_are_told_from_other_objects() -> None:
    assert boxes_of("a.jpg 10 20 30 60 14 1 2 3 4 7") == ("a.jpg", [(10.0, 20.0, 20.0, 40.0)])
    assert boxes_of("b.jpg") == ("b.jpg", [])
