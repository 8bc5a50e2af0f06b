"""Checks of the finder's figures and of the choice of its threshold. Needs no data folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from evaluate_finder import (
    FLOOR,
    Detection,
    Finder,
    Seen,
    at,
    choose_threshold,
    half,
    recall,
    score_sure,
    write_toml,
)
from export_networks import export
from figures import read, record, render
from finder import SIZE
from finder import Finder as Network
from photos import Person, Photo, overlap


def person(x: float, height: float) -> Person:
    return Person((x, 10.0, height / 2, height), np.zeros((17, 3), np.float32))


def photo(*people: Person, **more: object) -> Photo:
    return Photo("a.jpg", 640, 480, "", "", "", list(people), **more)  # type: ignore[arg-type]


def empty(score: float) -> Seen:
    return Seen(photo(negative=True), [Detection(score, (0.0, 0.0, 50.0, 100.0))])


def test_each_person_needs_a_box_of_their_own() -> None:
    a, b = person(0, 100), person(20, 100)  # they overlap by less than a half
    seen = Seen(photo(a, b), [Detection(0.9, a.box), Detection(0.8, (1.0, 10.0, 50.0, 100.0))])
    assert seen.matched(0.5) == ([True, False], 1)
    assert seen.matched(0.85) == ([True, False], 0)


def test_boxes_on_people_without_keypoints_are_neither_found_nor_false() -> None:
    other, maybe = (300.0, 10.0, 50.0, 100.0), (500.0, 10.0, 80.0, 80.0)
    found = [
        Detection(0.9, other),
        Detection(0.8, (510.0, 20.0, 30.0, 50.0)),
        Detection(0.7, (200.0, 200.0, 40.0, 40.0)),
    ]
    seen = Seen(photo(person(0, 100), other_boxes=[other], maybe_boxes=[maybe]), found)
    assert seen.matched(0.5) == ([False], 1)


def test_recall_is_by_height() -> None:
    people = [person(0, 50), person(100, 120), person(200, 400)]
    seen = [Seen(photo(*people), [Detection(0.9, people[0].box), Detection(0.6, people[2].box)])]
    r = recall(seen, 0.5)
    assert r["40 to 80"] == {"share": 1.0, "people": 1} and r["160 to 320"] == {"share": None, "people": 0}
    assert r["80 and more"] == {"share": 0.5, "people": 2} and r["over 320"]["share"] == 1.0
    assert recall(seen, 0.7)["80 and more"]["share"] == 0.0


def test_the_threshold_lets_few_empty_photographs_through_and_loses_nobody_for_nothing() -> None:
    scores = [0.9, 0.7, *[0.01 * k for k in range(1, 39)]]  # 40 photographs: 5 % are two
    shown = [empty(s) for s in scores]
    someone = person(0, 100)
    people = [Seen(photo(someone), [Detection(s, someone.box)]) for s in (0.3, 0.5, 0.8)]
    threshold = choose_threshold(shown, people, 0.05)
    assert threshold == 0.5  # 0.38 would do as well for the empty ones, and finds no more people
    assert sum(s.best >= threshold for s in shown) == 2
    assert choose_threshold(shown, [], 0.05) == 0.7
    assert 0.9 < choose_threshold(shown, people, 0.0) <= 1.0
    assert choose_threshold([empty(0.6)] * 3, people, 0.4) > 0.6  # all alike: none may be shown
    assert choose_threshold(shown, people, 1.0) == pytest.approx(FLOOR, abs=0.3)
    with pytest.raises(ValueError, match="without people"):
        choose_threshold([], people, 0.05)


def test_the_figures_of_a_threshold_are_shares() -> None:
    someone = person(0, 100)
    labelled = [Seen(photo(someone), [Detection(0.9, someone.box), Detection(0.8, (300.0, 0.0, 50.0, 50.0))])]
    f = at(0.5, "given", labelled, [empty(0.4), empty(0.6)])
    assert f["false_boxes_a_frame"] == 1.0 and f["empty_share"] == 0.5 and f["recall"]["80 and more"]["share"] == 1.0


def test_the_halves_of_the_held_out_photographs_are_about_as_large() -> None:
    photos = [Photo(f"{n}.jpg", 1, 1, "", "", "", negative=True) for n in range(3000)]
    kept = [p for p in photos if p.empty_held_out]
    assert 900 < len(kept) < 1100
    assert 0.45 < np.mean([half(p) for p in kept]) < 0.55


def test_boxes_are_in_the_photograph_whatever_the_proportion(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = Network()
    with torch.no_grad():
        net.out.weight.zero_()
        assert net.out.bias is not None
        net.out.bias.zero_()
    export(net, (1, 3, SIZE, SIZE), ["score", "box"], tmp_path / "f.onnx")
    finder = Finder(tmp_path / "f.onnx")
    for width, height in ((640, 480), (300, 500)):
        found = finder(np.zeros((height, width, 3), np.uint8))
        scale = max(width, height) / SIZE
        # All cells are alike: boxes of 2 e cells of 8 input pixels, none of which overlap by more than a half.
        side = 2 * np.e * 8 * scale
        assert found and all(d.score == pytest.approx(0.5) for d in found)
        for d in found:
            np.testing.assert_allclose(d.box[2:], side, rtol=1e-3)
        assert all(overlap(a.box, b.box) <= 0.5 for a in found for b in found if a is not b)


def test_a_threshold_is_read_and_written_where_it_belongs(tmp_path: Path) -> None:
    toml = tmp_path / "model.toml"
    text = 'name = "x"\ndecoder = { type = "finder", score_min = 0.2, score_sure = 0.4, iou_max = 0.5 }\n[network]\nsha256 = "0"\n'
    toml.write_text(text)
    (tmp_path / "f.onnx").write_bytes(b"weights")
    assert score_sure(tmp_path / "f.onnx") is None
    write_toml(toml, 0.3217)
    assert toml.read_text() == text.replace("0.4", "0.322")
    toml.write_text('decoder = { type = "movenet" }\n')
    with pytest.raises(ValueError, match="score_sure"):
        write_toml(toml, 0.3)


def test_the_page_shows_every_threshold_of_every_finder(tmp_path: Path) -> None:
    someone = person(0, 100)
    labelled = [Seen(photo(someone), [Detection(0.9, someone.box)])]
    points = [at(t, why, labelled, [empty(0.4), empty(0.6)]) for t, why in ((0.5, "model.toml"), (0.3, "given"))]
    on = {"frames": 1, "empty_reported": 2, "empty_chosen_on": 2}
    record(tmp_path / "people.json", "finder", on, {"new": {"sha256": "0", "points": points}})
    page = render(read(tmp_path / "people.json"))
    assert "| new | 0.50 (model.toml) |" in page and "| new | 0.30 (given) |" in page
    assert "| 1.00 of 1 | 0.500 | 0.00 |" in page
