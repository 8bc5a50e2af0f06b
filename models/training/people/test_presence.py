"""Checks of the fit that decides which boxes become people. Needs no data folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from answers import Answer, Floats, logit
from evaluate_finder import Detection
from photos import Person, Photo
from presence import Frame, box_of, evidence_of, fit, in_picture, kind, matched, measured, toml_of, write_toml

SHAPE = np.zeros((17, 3), np.float32)
BOX = (10.0, 10.0, 50.0, 100.0)
BESIDE = (300.0, 10.0, 50.0, 100.0)
NO_FIT = np.array([1.0, 0.0, 0.0, 0.0, 0.0])


def photo(*boxes: tuple[float, float, float, float], **more: object) -> Photo:
    people = [Person(b, SHAPE) for b in boxes]
    return Photo("a.jpg", 640, 480, "", "", "", people, **more)  # type: ignore[arg-type]


def frame(of: Photo, *seen: tuple[tuple[float, float, float, float], float, float]) -> Frame:
    """Boxes with their scores and the keypoints' confidence."""
    boxes = [Detection(score, box) for box, score, _ in seen]
    evidence = np.array([[score, sure, 0.5] for _, score, sure in seen]).reshape(-1, 3)
    said = np.asarray(logit(evidence), np.float64)
    return Frame(of, boxes, said, said)


def sample(rng: np.random.Generator, n: int) -> tuple[list[Frame], list[Frame]]:
    """Frames in which only the keypoints tell people from things, and empty ones."""
    people, empty = [], []
    for _ in range(n):
        people.append(frame(photo(BOX), (BOX, rng.uniform(0.2, 0.6), rng.beta(6, 3)), (BESIDE, 0.4, rng.beta(3, 6))))
        empty.append(frame(photo(negative=True), (BESIDE, rng.uniform(0.2, 0.6), rng.beta(3, 6))))
    return people, empty


def test_the_fit_weighs_what_tells_people_from_things() -> None:
    people, empty = sample(np.random.default_rng(1), 400)
    found = fit(people, empty, 0.05, 0.2)
    assert found[1] > 3 * abs(found[0])
    shown = measured(people, empty, found)
    assert shown["empty_share"] == pytest.approx(0.05, abs=0.001)
    assert shown["recall"]["80 and more"]["share"] > 0.6


def test_no_box_below_the_least_score_becomes_a_person() -> None:
    found = np.array([*NO_FIT[:3], 5.0, 0.3])
    two = frame(photo(BOX), (BOX, 0.29, 0.9), (BESIDE, 0.31, 0.9))
    assert [d.score for d in two.people(found)] == [0.31]


def test_a_person_who_is_out_of_the_question_at_first_is_not_looked_at_again() -> None:
    of = photo(BOX)
    sure, doubtful = np.array([[3.0, 3.0, 3.0]]), np.array([[-5.0, 3.0, 3.0]])
    boxes = [Detection(0.9, BOX)]
    for first, shown in ((sure, 1), (doubtful, 0)):
        assert len(Frame(of, boxes, first, sure).people(NO_FIT)) == shown


def test_the_box_of_keypoints_stays_near_the_one_that_was_looked_at() -> None:
    xy = np.zeros((1, 17, 2))
    xy[0, :, 0], xy[0, :, 1] = np.linspace(20, 60, 17), np.linspace(10, 110, 17)
    answer = Answer(xy, np.ones((1, 17)), np.ones((1, 17)))
    assert box_of(answer, 0, (15.0, 5.0, 50.0, 110.0)) == pytest.approx((10, 0, 60, 120))
    assert box_of(answer, 0, (15.0, 50.0, 50.0, 20.0)) == pytest.approx((10, 40, 60, 40)), "a fifth of its longer side"
    unsure = Answer(xy, np.zeros((1, 17)), np.zeros((1, 17)))
    assert box_of(unsure, 0, BOX) == BOX


def test_what_can_be_seen_counts_and_not_the_calibrated_confidence() -> None:
    xy = np.zeros((1, 17, 2))
    xy[0, :, 0], xy[0, :, 1] = np.linspace(20, 60, 17), np.linspace(10, 110, 17)
    chance = np.full((1, 17), 0.1)
    seen = Answer(xy, chance, chance, np.full((1, 17), 2.0))
    assert box_of(seen, 0, (15.0, 5.0, 50.0, 110.0)) == pytest.approx((10, 0, 60, 120))
    assert evidence_of([Detection(0.5, BOX)], seen)[0] == pytest.approx([0.0, 2.0, np.log(1 / 9)])
    without = Answer(xy, chance, chance)
    assert evidence_of([Detection(0.5, BOX)], without)[0, 1] == pytest.approx(np.log(1 / 9))


def test_a_box_ends_at_the_border_of_its_picture() -> None:
    picture = np.zeros((100, 200, 3), np.uint8)
    assert in_picture((-10.0, 20.0, 50.0, 200.0), picture) == (0.0, 20.0, 40.0, 80.0)
    assert in_picture((50.0, 20.0, 20.0, 30.0), picture) == (50.0, 20.0, 20.0, 30.0)
    assert in_picture((300.0, 20.0, 20.0, 30.0), picture) == (199.0, 20.0, 1.0, 30.0)


def test_a_box_half_on_a_person_says_nothing() -> None:
    one = photo(BOX, maybe_boxes=[BESIDE])
    assert kind(Detection(0.5, BOX), one) is True
    assert kind(Detection(0.5, (35.0, 10.0, 50.0, 100.0)), one) is None
    assert kind(Detection(0.5, BESIDE), one) is None
    assert kind(Detection(0.5, (500.0, 10.0, 50.0, 100.0)), one) is False


def test_each_person_needs_a_box_of_their_own() -> None:
    one = frame(photo(BOX), (BOX, 0.6, 0.9), (BESIDE, 0.6, 0.9))
    assert matched(one, one.boxes) == ([True], 1)


def test_a_bias_needs_empty_photographs() -> None:
    people, _ = sample(np.random.default_rng(1), 3)
    with pytest.raises(ValueError, match="no photograph without people"):
        fit(people, [], 0.05, 0.2)


def test_the_fit_is_written_beside_the_confidence_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "model.toml"
    path.write_text('decoder = { type = "heatmap", values = "logits" }\nlicence = "x"\n')
    for bias in (1.0, 2.0):
        found: Floats = np.array([1.5, 0.5, 0.0, bias, 0.2])
        write_toml(path, found)
    line = path.read_text().splitlines()[0]
    assert line == f'decoder = {{ type = "heatmap", values = "logits", {toml_of(found)} }}'
    path.write_text('decoder = { type = "movenet" }\n')
    write_toml(path, found)
    assert path.read_text() == f'decoder = {{ type = "movenet", {toml_of(found)} }}\n'
    path.write_text('decoder = { type = "simcc", split = 2.0 }\n')
    with pytest.raises(ValueError, match="0 lines"):
        write_toml(path, found)
