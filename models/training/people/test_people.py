"""Checks of the arithmetic that labels, crops and exports rest on. One needs the data folder, and is skipped without."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray

from attribution import rows
from blend import BlendFault, blend_networks, blended
from body import TREE, align
from clutter import clutter
from crop import assumed_camera, facing, person_crop
from evaluate_finder import Detection
from evaluate_people import decode_heatmaps, iou
from export_networks import export, fold
from finder import CELLS, SIZE, Finder, FrameAgreement
from net import FEATURES, Agreement, Depth, PersonNet
from photo_scenes import PhotoScenes
from photos import (
    BY_HAND,
    MIRROR,
    IndexFault,
    Person,
    PersonCrops,
    open_folders,
    plain_crop,
    read_index,
    read_photo,
    with_labels,
)
from raster import draw
from scenes import Scenes
from shards import CROP_H, CROP_W, SHAPES, Writer, open_shard
from teacher import FRAME_CHANNELS, FrameTeacher
from train_finder import unfolded
from train_person import MAP, MIRROR_J, losses, photo_tensors, start_from, tensors, turn
from unfold import calibrate, unfold


def row(rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    """A crop with a point of its own colour at each keypoint."""
    k = np.concatenate([rng.uniform(40, 100, (17, 2)), np.ones((17, 2))], 1)
    image = np.zeros((192, 144, 3), np.uint8)
    joints = np.zeros((17, 3))
    joints[1:] = rng.normal(size=(16, 3))
    return {
        "image": image,
        "keypoints": k,
        "mask": np.zeros((48, 36)),
        "joints": joints,
        "rays": np.zeros((27, 17, 2)),
        "camera": np.ones(4),
    }


def test_the_ray_faced_becomes_the_axis_and_nothing_rolls() -> None:
    ray = np.array([0.4, -0.3, 1.0], np.float32)
    r = facing(ray)
    np.testing.assert_allclose(r @ (ray / np.linalg.norm(ray)), [0, 0, 1], atol=1e-6)
    np.testing.assert_allclose(r @ r.T, np.eye(3), atol=1e-6)
    np.testing.assert_allclose(r[0, 1], r[1, 0], atol=1e-7)


def test_a_crop_holds_its_box_and_leads_back() -> None:
    box = (400.0, 100.0, 520.0, 460.0)
    crop = person_crop(box, assumed_camera(640, 480))
    corners = np.array([[400, 100], [520, 100], [520, 460], [400, 460]], np.float32)
    h = crop.homography().astype(np.float64)
    p = np.concatenate([corners, np.ones((4, 1))], 1) @ h.T
    inside = p[:, :2] / p[:, 2:]
    assert (inside > 0).all()
    assert (inside < [144, 192]).all()
    np.testing.assert_allclose(crop.to_image(inside.astype(np.float32)), corners, atol=0.05)
    half = np.abs(inside - [71.5, 95.5]).max(0)
    assert abs(half[1] - 96 / 1.25) < 1e-2 or abs(half[0] - 72 / 1.25) < 1e-2


def test_a_peak_is_decoded_to_its_cell() -> None:
    heat = np.full((1, 48, 36), -9.0, np.float32)
    heat[0, 10, 20] = 9
    np.testing.assert_allclose(decode_heatmaps(heat)[0], [4 * 20 + 1.5, 4 * 10 + 1.5], atol=1e-3)


def test_the_nearer_triangle_hides_the_other_and_depth_is_its_own() -> None:
    px = np.array([[0, 0], [20, 0], [0, 20], [0, 0], [20, 0], [0, 20]], np.float32)
    depth = np.array([2, 2, 2, 1, 1, 1], np.float32)
    colour = np.zeros((6, 3), np.float32)
    colour[3:] = 1
    faces = np.array([[3, 4, 5], [0, 1, 2]], np.int32)
    image, z = np.zeros((20, 20, 3), np.float32), np.full((20, 20), 9, np.float32)
    label = np.zeros((20, 20), np.int8)
    draw(px, depth, colour, np.array([1, 2], np.int8), faces, image, z, label)
    assert label[3, 3] == 1
    assert z[3, 3] == pytest.approx(1)
    assert label[19, 19] == 0


def test_the_tree_lists_parents_first_and_alignment_turns() -> None:
    assert all(parent < k for k, parent in enumerate(TREE))
    a, b = np.array([0.2, -1, 0.1]), np.array([1.0, 0, 0])
    np.testing.assert_allclose(align(a, b) @ (a / np.linalg.norm(a)), b, atol=1e-6)


def test_mirrors_are_their_own_inverse() -> None:
    assert [MIRROR[k] for k in MIRROR] == list(range(17))
    assert [MIRROR_J[k] for k in MIRROR_J] == list(range(17))


def test_turning_a_crop_moves_pixels_and_labels_alike() -> None:
    rng = np.random.default_rng(4)
    r = row(rng)
    r["keypoints"][0, :2] = 80, 60
    r["image"][58:63, 78:83] = 255
    b: dict[str, NDArray[Any]] = {
        n: np.array(r[n], SHAPES[n][1])[None] for n in ("image", "mask", "keypoints", "joints")
    }
    before = np.linalg.norm(b["joints"][0], axis=1).copy()
    turn(b, 0, rng)
    ys, xs = np.nonzero(b["image"][0, ..., 0] > 128)
    np.testing.assert_allclose([xs.mean(), ys.mean()], b["keypoints"][0, 0, :2], atol=0.6)
    np.testing.assert_allclose(np.linalg.norm(b["joints"][0], axis=1), before, rtol=1e-5)


def test_a_crop_without_anybody_has_a_finite_loss() -> None:
    rng = np.random.default_rng(5)
    rows = [row(rng) for _ in range(4)]
    rows[0]["joints"][:] = np.nan
    rows[0]["keypoints"][:, 2:] = 0
    b: dict[str, NDArray[Any]] = {
        n: np.stack([np.array(r[n], SHAPES[n][1]) for r in rows]) for n in ("image", "mask", "keypoints", "joints")
    }
    b |= {"flip": np.zeros(4, bool), "teacher": np.zeros((4, *MAP), np.float16), "taught": np.ones(4, bool)}
    parts = losses(PersonNet(), Depth(), Agreement(), torch.ones(1, MAP[0], 1, 1), tensors(b, rng), bf16=False)
    sum(parts.values()).backward()  # type: ignore[union-attr]
    assert all(torch.isfinite(v) for v in parts.values())


def test_blended_weights_lie_between_and_other_shapes_are_named() -> None:
    a = {"w": torch.tensor([0.0, 10.0]), "steps": torch.tensor(3)}
    b = {"w": torch.tensor([1.0, 20.0]), "steps": torch.tensor(7)}
    out = blended(a, b, 0.25, "b.pt")
    assert out["w"].tolist() == [0.25, 12.5] and int(out["steps"]) == 7
    with pytest.raises(BlendFault, match=r"b.pt: tensor w is \[3\], in the first checkpoint \[2\]"):
        blended(a, b | {"w": torch.zeros(3)}, 0.5, "b.pt")
    with pytest.raises(BlendFault, match="tensor bias is in one of the checkpoints only"):
        blended(a, b | {"bias": torch.zeros(1)}, 0.5, "b.pt")


def test_two_networks_are_averaged_and_the_mean_runs(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.onnx", "b.onnx", "mean.onnx")]
    for seed, path in enumerate(paths[:2]):
        torch.manual_seed(seed)
        export(PersonNet(), (1, 3, 192, 144), ["heatmaps", "visible", "features", "mask"], path)
    blend_networks(paths[0], paths[1], 0.0, paths[2])
    x = {"image": np.random.default_rng(1).random((1, 3, 192, 144), dtype=np.float32)}
    first, second, mean = (ort.InferenceSession(path).run(["visible"], x)[0] for path in paths)
    assert np.allclose(mean, first, atol=1e-5) and not np.allclose(first, second, atol=1e-3)
    blend_networks(paths[0], paths[1], 0.5, paths[2])
    between = ort.InferenceSession(paths[2]).run(["visible"], x)[0]
    assert not np.allclose(between, first, atol=1e-3) and not np.allclose(between, second, atol=1e-3)


def test_a_shard_reads_back_what_was_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    rows = [row(rng) for _ in range(3)]
    with Writer(tmp_path / "s") as out:
        for r in rows:
            out.add(r)
    arrays, count = open_shard(tmp_path / "s")
    assert count == 3
    np.testing.assert_allclose(arrays["keypoints"][2], rows[2]["keypoints"].astype(np.float32))
    assert json.loads((tmp_path / "s/count.json").read_text()) == {"count": 3}
    with pytest.raises(ValueError, match="mask"), Writer(tmp_path / "t") as out:
        out.add({**rows[0], "mask": np.zeros((3, 3))})


def test_networks_have_the_shapes_of_the_contract_and_export(tmp_path: Path) -> None:
    person, finder = PersonNet(), Finder()
    person.train()(torch.rand(8, 3, 192, 144))  # moves the running statistics away from 0 and 1
    assert export(person, (1, 3, 192, 144), ["heatmaps", "visible", "features", "mask"], tmp_path / "p.onnx") < 1e-4
    assert export(finder, (1, 3, SIZE, SIZE), ["score", "box"], tmp_path / "f.onnx") < 1e-4
    heat, visible, features, mask = person(torch.rand(1, 3, 192, 144))
    shapes = [tuple(t.shape) for t in (heat, visible, features, mask)]
    assert shapes == [(1, 17, 48, 36), (1, 17), (1, FEATURES), (1, 3, 48, 36)]
    score, box = finder(torch.rand(1, 3, SIZE, SIZE))
    assert tuple(score.shape) == (1, 1, CELLS, CELLS)
    assert (box >= 0).all()
    assert not any(isinstance(m, torch.nn.BatchNorm1d) for m in fold(PersonNet().eval()).modules())


def test_overlap() -> None:
    assert iou((0, 0, 2, 2), (1, 0, 3, 2)) == pytest.approx(1 / 3)
    assert iou((0, 0, 1, 1), (2, 2, 3, 3)) == 0


def cutout() -> NDArray[np.uint8]:
    """An upright ellipse in place of a person."""
    y, x = np.mgrid[:192, :144]
    cut = np.full((192, 144, 4), 255, np.uint8)
    cut[..., 3] = 255 * (((x - 72) / 40) ** 2 + ((y - 96) / 90) ** 2 < 1)
    return cut


def test_clutter_stays_a_picture() -> None:
    rng = np.random.default_rng(3)
    for _ in range(40):
        picture = np.full((108, 192, 3), 0.5, np.float32)
        clutter(picture, rng, cutout()[None])
        assert picture.shape == (108, 192, 3) and picture.dtype == np.float32
        assert np.isfinite(picture).all() and picture.min() >= -0.01 and picture.max() <= 1.4


def test_boxes_of_scenes_lie_in_the_frame_and_empty_scenes_occur() -> None:
    scenes = Scenes(cutout()[None], 4)
    counts = []
    for _ in range(60):
        _, boxes = scenes.scene()
        counts.append(len(boxes))
        for x0, y0, x1, y1 in boxes:
            assert -1 <= x0 < x1 <= SIZE and -1 <= y0 < y1 <= SIZE
    assert 0 in counts and max(counts) > 1


def index_folder(folder: Path, **changes: Any) -> Path:
    """A folder with one photograph: a person of 17 bright points before a dark wall; a second, empty photograph."""
    folder.mkdir(exist_ok=True)
    picture = np.zeros((300, 400, 3), np.uint8)
    points = [[150 + 12 * (k % 5), 60 + 11 * k, 2] for k in range(17)]
    for x, y, _ in points:
        cv2.circle(picture, (x, y), 3, (255, 255, 255), -1)
    cv2.imwrite(str(folder / "a.png"), picture)
    cv2.imwrite(str(folder / "b.png"), np.full((300, 400, 3), 90, np.uint8))
    person = {"box": [130, 40, 100, 220], "keypoints": [v for p in points for v in p]}
    frame = {"file": "a.png", "width": 400, "height": 300, "origin": "x", "people": [person]}
    frame |= {"other_boxes": [[10, 10, 40, 60]], "maybe_boxes": [[300, 10, 50, 60, 0.4]]} | changes
    empty = {"file": "b.png", "width": 400, "height": 300, "people": [], "negative": True}
    empty |= {"licence": changes.get("licence", ""), "source": "another"}
    (folder / "index.json").write_text(json.dumps({"frames": [frame, empty]}))
    return folder


def test_a_crop_of_a_photograph_carries_its_labels_along(tmp_path: Path) -> None:
    folder = index_folder(tmp_path / "p")
    photos = read_index(folder)
    assert not photos[0].held_out
    crops, rng = PersonCrops([(folder, photos)]), np.random.default_rng(3)
    hits, asked = 0, 0
    for _ in range(60):
        image, k = crops.sample(rng)
        assert image.shape == (192, 144, 3) and k.shape == (17, 5)
        for x, y, weight, seen, known in k:
            inside = -0.5 < x < CROP_W - 0.5 and -0.5 < y < CROP_H - 0.5
            assert (inside or weight == 0) and bool(seen) == (weight == 1) and known == 1
            if seen:  # neither covered nor outside: the bright point is there
                near = image[max(int(y) - 4, 0) : int(y) + 5, max(int(x) - 4, 0) : int(x) + 5].max()
                hits, asked = hits + (near > image.mean() + 8), asked + 1
    assert asked > 400 and hits / asked > 0.95


def test_less_sure_is_covered_where_people_marked_it_and_else_not_known(tmp_path: Path) -> None:
    folder = index_folder(tmp_path / "p")
    photo = read_index(folder)[0]
    k = photo.people[0].keypoints.copy()
    k[:, 2] = 1
    for source, place, known in (("a teacher", 0.3, 0.0), (BY_HAND, 0.6, 1.0)):
        there = replace(photo, source=source, people=[Person(photo.people[0].box, k)])
        crops, rng = PersonCrops([(folder, [there])]), np.random.default_rng(3)
        rows = np.concatenate([crops.sample(rng)[1] for _ in range(20)])
        assert (rows[:, 3] == 0).all() and np.isclose(rows[:, 2].max(), place)
        assert (rows[rows[:, 2] > 0, 4] == known).all()


def test_what_a_detector_finds_is_a_person_or_a_mistake_or_neither(tmp_path: Path) -> None:
    folder = index_folder(tmp_path / "p")
    photos = read_index(folder)
    x, y, w, h = photos[0].people[0].box
    person = (x + 0.2 * w, y, w, h)
    beside = (x + 0.7 * w, y, w, h)
    boxes = {
        "a.png": [person, beside, (12.0, 12.0, 40.0, 60.0), (305.0, 15.0, 30.0, 40.0), (330.0, 200.0, 60.0, 90.0)],
        "b.png": [(200.0, 100.0, 50.0, 80.0)],
    }
    given = iter(boxes[photo.file] for photo in photos)
    crops = PersonCrops([(folder, photos)], finds=lambda _: [Detection(0.5, box) for box in next(given)])
    assert crops.found == [[person]], "neither the one beside, nor other people's"
    mistaken = [box for _, box in crops.mistaken]
    assert mistaken == [(330.0, 200.0, 60.0, 90.0), (200.0, 100.0, 50.0, 80.0)]
    rng = np.random.default_rng(3)
    for _ in range(40):
        image, k = crops.nobody(rng)
        assert image.shape == (192, 144, 3) and (k == [0, 0, 0, 0, 1]).all()
        assert crops.sample(rng)[1].shape == (17, 5)


def test_a_photograph_in_two_folders_is_taken_from_the_last(tmp_path: Path) -> None:
    first, last = index_folder(tmp_path / "a"), index_folder(tmp_path / "b")
    entries = json.loads((first / "index.json").read_text())["frames"]
    (last / "index.json").write_text(json.dumps({"frames": entries[:1]}))
    folders = open_folders([str(first), str(last)])
    assert [[photo.file for photo in photos] for _, photos in folders] == [["b.png"], ["a.png"]]


def test_photographs_teach_places_and_say_nothing_of_masks_and_depth(tmp_path: Path) -> None:
    folder = index_folder(tmp_path / "p")
    t = photo_tensors(PersonCrops([(folder, read_index(folder))]), 4, np.random.default_rng(5))
    parts = losses(PersonNet(), Depth(), Agreement(), torch.ones(1, MAP[0], 1, 1), t, bf16=False)
    assert parts["mask"].item() == 0 and parts["joints"].item() == 0 and parts["heat"].item() > 1


def test_the_plain_crop_leads_back_to_the_photograph(tmp_path: Path) -> None:
    folder = index_folder(tmp_path / "p")
    photo = read_index(folder)[0]
    crop, m = plain_crop(read_photo(folder, photo), photo.people[0].box)
    x, y, _ = photo.people[0].keypoints[9]
    u, v = (x - m[0, 2]) / m[0, 0], (y - m[1, 2]) / m[1, 1]
    assert crop[round(v), round(u)].min() > 150


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"people": [{"box": [500, 0, 10, 10], "keypoints": [0] * 51}]}, "outside the photograph of 400 x 300"),
        ({"people": [{"box": [5, 5, 0, 10], "keypoints": [0] * 51}]}, "outside"),
        ({"people": [{"box": [5, 5, 10, 10], "keypoints": [0] * 50}]}, "50 numbers of keypoints, wanted 51"),
    ],
)
def test_an_index_that_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(IndexFault, match=message):
        read_index(index_folder(tmp_path / "p", **changes))


def test_photographs_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    folder = index_folder(tmp_path / "p")
    photo = read_index(folder)[0]
    (folder / "a.png").write_bytes((folder / "a.png").read_bytes()[:60])
    with pytest.raises(IndexFault, match="a.png: does not open"):
        read_photo(folder, photo)
    cv2.imwrite(str(folder / "a.png"), np.zeros((30, 40, 3), np.uint8))
    with pytest.raises(IndexFault, match="is 40 x 30 pixels, the index says 400 x 300"):
        read_photo(folder, photo)
    with pytest.raises(IndexFault, match="no such file"):
        read_index(tmp_path)


def test_later_labels_move_a_box_from_the_others_to_the_people(tmp_path: Path) -> None:
    folder = index_folder(tmp_path / "p")
    row = {"file": "a.png", "box": [10, 10, 40, 60], "keypoints": [20, 30, 2] * 17}
    (tmp_path / "labels.jsonl").write_text(json.dumps(row) + "\n")
    (photo, _) = with_labels(read_index(folder), tmp_path / "labels.jsonl")
    assert len(photo.people) == 2 and photo.other_boxes == []


def test_views_of_photographs_keep_people_in_their_boxes(tmp_path: Path) -> None:
    folder = index_folder(tmp_path / "p", other_boxes=[], maybe_boxes=[])
    scenes = PhotoScenes([(folder, read_index(folder))], 3)
    bright = inside = 0
    for _ in range(20):
        frame, boxes, unknown = scenes.view(*scenes.people[0], 256, 192)
        at = np.zeros(frame.shape[:2], bool)
        for x0, y0, x1, y1 in [*boxes, *unknown]:
            at[max(int(y0) - 3, 0) : int(y1) + 4, max(int(x0) - 3, 0) : int(x1) + 4] = True
        points = (frame.min(-1) > 200) & ~(frame == 114).all(-1)
        bright, inside = bright + points.sum(), inside + (points & at).sum()
    assert bright > 500 and inside / bright > 0.97
    batch = scenes.batch(4)
    assert tuple(batch["image"].shape) == (4, 3, SIZE, SIZE) and tuple(batch["known"].shape) == (4, CELLS, CELLS)


def test_an_exported_network_is_unfolded_to_what_it_was(tmp_path: Path) -> None:
    torch.manual_seed(3)
    net = PersonNet(reach=0)
    net.train()(torch.rand(8, 3, 192, 144))
    images = torch.rand(6, 3, 192, 144)
    export(net, (1, 3, 192, 144), ["heatmaps", "visible", "features", "mask"], tmp_path / "p.onnx")
    with torch.no_grad():
        want = net(images)
        again = PersonNet(reach=0)
        unfold(again, tmp_path / "p.onnx", images[:1])
        for step in (lambda: None, lambda: calibrate(again, images)):
            step()
            for a, b in zip(again.eval()(images), want, strict=True):
                torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
    with pytest.raises(ValueError, match="layers with weights"):
        unfold(Finder(), tmp_path / "p.onnx", torch.rand(1, 3, SIZE, SIZE))
    grown = PersonNet(reach=2)
    start_from(tmp_path / "p.onnx", grown, Depth(), Agreement(), images)
    with torch.no_grad():
        torch.testing.assert_close(grown.eval()(images)[0], want[0], rtol=1e-3, atol=1e-3)


def test_a_finder_goes_on_from_one_of_the_shape_before(tmp_path: Path) -> None:
    torch.manual_seed(3)
    for before in (Finder(deep=0), Finder()):
        for parameter in before.parameters():  # The exporter merges weights that are all zero.
            parameter.data += 0.02 * torch.randn_like(parameter)
        export(before, (1, 3, SIZE, SIZE), ["score", "box"], tmp_path / "f.onnx")
        image = torch.rand(2, 3, SIZE, SIZE)
        first = unfolded(tmp_path / "f.onnx")
        after = Finder()
        after.load_state_dict(first.state_dict(), strict=False)
        with torch.no_grad():
            for y, z in zip(before.eval()(image), after.eval()(image), strict=True):
                assert torch.allclose(y, z, atol=1e-3)
    export(PersonNet(), (1, 3, CROP_H, CROP_W), ["heatmaps", "visible", "features", "mask"], tmp_path / "p.onnx")
    with pytest.raises(ValueError, match="layers"):
        unfolded(tmp_path / "p.onnx")


def test_the_teacher_sees_the_whole_frame_at_three_strides() -> None:
    weights = Path(__file__).resolve().parents[4] / "shared/data/weights/movenet_lightning_fp32_from_int8.onnx"
    if not weights.exists():
        pytest.skip(f"{weights}: not there")
    frames = np.random.default_rng(1).integers(0, 255, (2, SIZE, SIZE, 3), dtype=np.uint8)
    maps = FrameTeacher(weights)(frames)
    assert [tuple(m.shape) for m in maps] == [
        (2, channels, CELLS // per, CELLS // per) for channels, per in zip(FRAME_CHANNELS, (4, 2, 1), strict=True)
    ]
    assert all(torch.isfinite(m).all() and m.float().std() > 0 for m in maps)
    agreed = FrameAgreement(FRAME_CHANNELS)(Finder().maps(torch.rand(2, 3, SIZE, SIZE)))
    assert [a.shape for a in agreed] == [m.shape for m in maps]


def test_channels_that_are_never_on_no_longer_make_features_explode() -> None:
    torch.manual_seed(4)
    net = PersonNet()
    images = torch.rand(12, 3, 192, 144)
    net.train()(images)
    with torch.no_grad():
        net.squeeze[1].bias[:] = 1.0
        net.squeeze[1].bias[5] = -50.0
        net.features[0].weight.view(FEATURES, 32, -1)[:, 5] = 30.0
        before = net.eval()(images)[2]
        assert net.revive(images) == 1
        torch.testing.assert_close(net.eval()(images)[2], before, rtol=1e-4, atol=1e-4)
        # An unusual crop: everything before the channel is a hundred times as large.
        net.context[2].bias += 100.0
        assert net(images)[2].norm(dim=1).max() < 1e3


def test_the_list_of_photographs_names_each_that_was_trained_on(tmp_path: Path) -> None:
    folder = index_folder(tmp_path / "p", licence="CC BY 2.0", source="a collection")
    listed = rows([folder], with_people=True)
    assert ("a collection", "x", "CC BY 2.0") in listed
    assert (("another", "b.png", "CC BY 2.0") in listed) != read_index(folder)[1].empty_held_out
    with pytest.raises(ValueError, match="no licence"):
        rows([index_folder(tmp_path / "q")], with_people=True)
