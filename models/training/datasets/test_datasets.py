"""Files in the published layouts, made here, through the converters and `poised eval --clips`.

No data set is needed: somebody who swings arms and steps is drawn with sticks, seen through a camera, and
written as each data set would.
"""

from __future__ import annotations

import csv
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
from safetensors.numpy import load_file

import egobody
import mpi_inf_3dhp
import smpl
import threedpw
from clip_files import (
    COMPARED,
    JOINTS,
    KEYPOINTS,
    LIMBS,
    OPENPOSE_18,
    OPENPOSE_25,
    Camera,
    Clip,
    ConvertError,
    Floats,
    our_joints,
    projected,
    read_pickle,
)

FRAMES = 45
FPS = 30.0
REPOSITORY = Path(__file__).resolve().parents[3]
PROGRAM = Path(os.environ.get("POISED_PROGRAM", REPOSITORY / "target" / "debug" / "poised"))
needs_program = pytest.mark.skipif(not PROGRAM.exists(), reason=f"no {PROGRAM}: cargo build makes it")

LANDSCAPE = Camera(1920, 1080, 1400.0, 1410.0, 960.0, 540.0)


def limb(root: Floats, length: float, swing: Floats) -> Floats:
    """The end of a limb that hangs down and is swung forward by an angle."""
    return root + length * np.stack([np.zeros_like(swing), -np.cos(swing), np.sin(swing)], axis=-1)


def walker() -> dict[str, Floats]:
    """Joints [FRAMES, 3] in the room, metres, +y up: facing +z, so that the right hand is at -x."""
    phase = np.arange(FRAMES) / FPS * 2 * np.pi
    fixed = {
        "pelvis": (0.0, 0.93, 0.0),
        "thorax": (0.0, 1.44, 0.0),
        "left_hip": (0.1, 0.93, 0.0),
        "right_hip": (-0.1, 0.93, 0.0),
        "left_shoulder": (0.18, 1.42, 0.0),
        "right_shoulder": (-0.18, 1.42, 0.0),
    }
    body = {name: np.tile(np.array(place), (FRAMES, 1)) for name, place in fixed.items()}
    for side, sign in (("left", 1.0), ("right", -1.0)):
        swing = sign * 0.35 * np.sin(phase)
        body[f"{side}_elbow"] = limb(body[f"{side}_shoulder"], 0.28, -swing)
        body[f"{side}_wrist"] = limb(body[f"{side}_elbow"], 0.25, 0.5 - swing)
        body[f"{side}_knee"] = limb(body[f"{side}_hip"], 0.43, swing)
        body[f"{side}_ankle"] = limb(body[f"{side}_knee"], 0.42, swing - 0.3)
    return body


ROOM_TO_CAMERA = np.array(
    [
        # Facing the camera, which stands 4 m before, 1.3 m high and level: x right, y down, z forward.
        [1.0, 0.0, 0.0, 0.0],
        [0.0, -1.0, 0.0, 1.3],
        [0.0, 0.0, -1.0, 4.0],
        [0.0, 0.0, 0.0, 1.0],
    ]
)


def to_camera(points: Floats) -> Floats:
    return points @ ROOM_TO_CAMERA[:3, :3].T + ROOM_TO_CAMERA[:3, 3]


def arranged(places: dict[str, int], count: int) -> Floats:
    """The walker in the camera frame in the order of a source, [FRAMES, count, 3]; other joints lie far off."""
    out = np.full((FRAMES, count, 3), 77.0)
    for name, points in walker().items():
        if name in places:
            out[:, places[name]] = to_camera(points)
    return out


def openpose(places: dict[str, int], count: int, camera: Camera) -> Floats:
    """Detections [FRAMES, count, 3] of the limbs, confidence 0.9; no face."""
    out = np.zeros((FRAMES, count, 3))
    for name in LIMBS:
        out[:, places[name], :2] = camera.pixels(to_camera(walker()[name]))
        out[:, places[name], 2] = 0.9
    return out


def check(folder: Path, source: str) -> dict[str, Any]:
    """The one clip of a folder has the walker's joints and keypoints; gives its entry."""
    (entry,) = json.loads((folder / "index.json").read_text())
    tensors = load_file(folder / entry["file"])
    joints, known, points = tensors["joints"][:, 0], tensors["known"][:, 0] > 0, tensors["keypoints"][:, 0]
    assert joints.shape == (FRAMES, 17, 3) and known.all(axis=0).sum() == len(COMPARED)
    for name, place in walker().items():
        at = JOINTS.index(name)
        assert known[:, at].all(), name
        np.testing.assert_allclose(joints[:, at], to_camera(place), atol=2e-5, err_msg=name)
    focal, centre = entry["camera"]["intrinsics"], entry["camera"]["intrinsics"]
    for name in LIMBS:
        place = to_camera(walker()[name])
        at = points[:, KEYPOINTS.index(name)]
        assert (at[:, 2] > 0.5).all(), name
        column = focal["fx_px"] * place[:, 0] / place[:, 2] + centre["cx_px"]
        row = focal["fy_px"] * place[:, 1] / place[:, 2] + centre["cy_px"]
        np.testing.assert_allclose(at[:, :2], np.stack([column, row], axis=-1), atol=0.6, err_msg=name)
    assert entry["keypoints"] == source
    found: dict[str, Any] = entry
    return found


# --- 3DPW -------------------------------------------------------------------


def write_3dpw(root: Path, change: Callable[[dict[str, Any]], None] = lambda found: None) -> None:
    places = {**smpl.PLACES, "pelvis": 0}
    world = arranged(places, 24)
    # A camera that moves: the same people, seen from a room that is turned and shifted differently.
    turn, shift = smpl.rotations(np.array([0.2, -0.4, 0.1])), np.array([3.0, -1.0, 0.5])
    poses = np.tile(np.eye(4), (FRAMES, 1, 1))
    poses[:, :3, :3] = turn
    poses[:, :3, 3] = shift + np.linspace(0, 0.2, FRAMES)[:, None]
    world = (world - poses[:, None, :3, 3]) @ turn
    detected = openpose(OPENPOSE_18, 18, LANDSCAPE).transpose(0, 2, 1)
    found: dict[str, Any] = {
        "sequence": "courtyard_drawn_00",
        "betas": [np.zeros(10)],
        "jointPositions": [world.reshape(FRAMES, 72)],
        "poses2d": [detected],
        "cam_poses": poses,
        "campose_valid": [np.ones(FRAMES, dtype=np.int64)],
        "cam_intrinsics": np.array([[1400.0, 0, 960.0], [0, 1410.0, 540.0], [0, 0, 1]]),
    }
    change(found)
    folder = root / "sequenceFiles" / "test"
    folder.mkdir(parents=True)
    (folder / "courtyard_drawn_00.pkl").write_bytes(pickle.dumps(found, protocol=2))


def test_3dpw_is_seen_by_its_moving_camera(tmp_path: Path) -> None:
    write_3dpw(tmp_path)
    assert threedpw.convert(tmp_path, "test", tmp_path / "clips") == 1
    entry = check(tmp_path / "clips", "detected")
    assert (entry["camera"]["width_px"], entry["camera"]["height_px"]) == (1920, 1080)


def test_3dpw_frames_without_a_camera_are_not_scored(tmp_path: Path) -> None:
    def spoil(found: dict[str, Any]) -> None:
        found["campose_valid"][0][5] = 0

    write_3dpw(tmp_path, spoil)
    threedpw.convert(tmp_path, "test", tmp_path / "clips")
    known = load_file(tmp_path / "clips" / "courtyard_drawn_00.safetensors")["known"]
    assert not known[5].any() and known[6].any()


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("cam_poses", np.zeros((3, 3)), r"cam_poses is \[3, 3\]: must be \[any, 4, 4\]"),
        ("poses2d", [np.zeros((FRAMES, 3, 25))], r"poses2d is \[45, 3, 25\]: must be \[45, 3, 18\]"),
        ("poses2d", [], "poses2d of 0 people, jointPositions of 1"),
        ("jointPositions", None, "no jointPositions"),
        ("cam_intrinsics", "words", "cam_intrinsics: could not convert"),
    ],
)
def test_3dpw_of_another_layout_is_refused_by_name(tmp_path: Path, key: str, value: Any, words: str) -> None:
    def spoil(found: dict[str, Any]) -> None:
        if value is None:
            del found[key]
        else:
            found[key] = value

    write_3dpw(tmp_path, spoil)
    with pytest.raises(ConvertError, match=words):
        threedpw.convert(tmp_path, "test", tmp_path / "clips")


def test_a_pickle_that_would_run_something_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"a": Path("/")}))
    with pytest.raises(ConvertError, match="arrays only are read"):
        read_pickle(path)
    path.write_bytes(pickle.dumps({"a": np.arange(3)})[:-9])
    with pytest.raises(ConvertError, match="a.pkl"):
        read_pickle(path)


# --- MPI-INF-3DHP -----------------------------------------------------------


def write_3dhp_test(root: Path, name: str, camera: Camera, shift_px: float = 0.0) -> None:
    joints = arranged({**mpi_inf_3dhp.TEST_PLACES, "pelvis": 14}, 17)
    joints[:, [0, 15, 16]] = to_camera(walker()["thorax"])[:, None] + [[0.0, -0.3, 0], [0, 0.25, 0], [0, -0.15, 0]]
    folder = root / name
    folder.mkdir(parents=True)
    noise = np.random.default_rng(1).normal(size=(FRAMES, 17, 2)) * shift_px
    with h5py.File(folder / "annot_data.mat", "w") as file:
        file["annot2"] = (camera.pixels(joints) + noise)[:, None]
        file["annot3"] = 1000.0 * joints[:, None]
        file["univ_annot3"] = 1000.0 * joints[:, None]
        file["valid_frame"] = np.ones((FRAMES, 1))
        file["activity_annotation"] = np.ones((FRAMES, 1))


def test_the_camera_of_3dhp_is_found_again(tmp_path: Path) -> None:
    write_3dhp_test(tmp_path, "TS1", Camera(2048, 2048, 1500.0, 1502.0, 1024.0, 1030.0))
    assert mpi_inf_3dhp.convert(tmp_path, "test", [], 25.0, tmp_path / "clips") == 1
    entry = check(tmp_path / "clips", "projected")
    assert abs(entry["camera"]["intrinsics"]["fx_px"] - 1500.0) < 0.5
    assert entry["camera"]["distortion"] == {"model": "none"} and entry["fps"] == 25.0


def test_the_lens_of_3dhp_outdoors_is_found_again(tmp_path: Path) -> None:
    # Somebody who fills the image, or there is nothing to tell a lens by.
    bent = Camera(1920, 1080, 1200.0, 1200.0, 950.0, 545.0, (-0.25, 0.1, 0.0004, -0.0006, 0.0))
    rng = np.random.default_rng(2)
    points = rng.uniform([-1.6, -0.9, 2.2], [1.6, 0.9, 5.0], size=(600, 3))
    found = mpi_inf_3dhp.fitted(points, bent.pixels(points), (1920, 1080), tmp_path)
    np.testing.assert_allclose(found.pixels(points), bent.pixels(points), atol=0.2)
    assert abs(found.distortion[0] + 0.25) < 0.02 and abs(found.fx_px - 1200.0) < 3.0


def test_3dhp_keypoints_that_belong_to_other_joints_are_refused(tmp_path: Path) -> None:
    write_3dhp_test(tmp_path, "TS1", Camera(2048, 2048, 1500.0, 1502.0, 1024.0, 1030.0), shift_px=40.0)
    with pytest.raises(ConvertError, match="no camera maps annot3 to annot2"):
        mpi_inf_3dhp.convert(tmp_path, "test", [], 25.0, tmp_path / "clips")


def test_3dhp_joints_behind_the_camera_are_refused(tmp_path: Path) -> None:
    points = np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 2.0]])
    with pytest.raises(ConvertError, match="behind the camera"):
        mpi_inf_3dhp.fitted(points, np.zeros((2, 2)), (64, 64), tmp_path)


def write_3dhp_train(root: Path) -> None:
    camera = Camera(2048, 2048, 1497.5, 1498.5, 1024.7, 1051.4)
    joints = arranged({**mpi_inf_3dhp.TRAIN_PLACES, "pelvis": 4}, 28)
    folder = root / "S1" / "Seq1"
    folder.mkdir(parents=True)
    cells = {key: np.empty((2, 1), dtype=object) for key in ("annot2", "annot3")}
    for number in range(2):
        cells["annot3"][number, 0] = 1000.0 * joints.reshape(FRAMES, 84)
        cells["annot2"][number, 0] = camera.pixels(joints).reshape(FRAMES, 56)
    scipy.io.savemat(folder / "annot.mat", {**cells, "cameras": np.arange(2), "frames": FRAMES})
    lines = ["Skeletool Camera Calibration File V1.0"]
    for number in range(2):
        matrix = [camera.fx_px, 0, camera.cx_px, 0, 0, camera.fy_px, camera.cy_px, 0, 0, 0, 1, 0, 0, 0, 0, 1]
        lines += [
            f"name          {number}",
            "  sensor      10 10",
            "  size        2048 2048",
            "  animated    0",
            "  intrinsic   " + " ".join(str(value) for value in matrix),
            "  extrinsic   " + " ".join(str(value) for value in np.eye(4).ravel()),
            "  radial      0",
        ]
    (folder / "camera.calibration").write_text("\n".join(lines) + "\n")


def test_3dhp_training_cameras_come_from_their_file(tmp_path: Path) -> None:
    write_3dhp_train(tmp_path)
    assert mpi_inf_3dhp.convert(tmp_path, "train", [1], 50.0, tmp_path / "clips") == 1
    entry = check(tmp_path / "clips", "projected")
    assert entry["id"] == "S1_Seq1_camera1" and entry["camera"]["intrinsics"]["cy_px"] == 1051.4
    with pytest.raises(ConvertError, match="no camera 7"):
        mpi_inf_3dhp.convert(tmp_path, "train", [7], 50.0, tmp_path / "clips")


# --- EgoBody ----------------------------------------------------------------

SMPLX_PARENTS = [-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19]


def write_smplx(folder: Path) -> Floats:
    """A model file of a body with one vertex a joint; gives its joints at rest, [22, 3]."""
    rest = np.zeros((22, 3))
    first = {name: points[0] for name, points in walker().items()}
    for name, place in smpl.PLACES.items():
        rest[place] = first[name]
    rest[0] = [0.0, 1.03, 0.0]
    rest[[3, 6, 9]] = [[0, 1.13, 0], [0, 1.23, 0], [0, 1.33, 0]]
    rest[[10, 11, 13, 14, 15]] = rest[[7, 8, 16, 17, 12]] + [0.0, 0.02, 0.05]
    table = np.stack([np.array([2**32 - 1, *SMPLX_PARENTS[1:]], dtype=np.int64), np.arange(22)])
    folder.mkdir()
    np.savez(
        folder / "SMPLX_FEMALE.npz",
        v_template=rest,
        # The first number of the shape makes the body larger, the others do nothing.
        shapedirs=np.stack([0.1 * rest, *[np.zeros((22, 3))] * 9], axis=-1),
        J_regressor=np.eye(22),
        kintree_table=table,
    )
    return rest


def write_egobody(root: Path) -> Floats:
    """Somebody who moves an arm; gives the joints in the optical frame of the headset's camera, [FRAMES, 22, 3]."""
    rest = write_smplx(root / "smplx")
    recording = "recording_20210101_S01_S02_01"
    with (root / "data_splits.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["train", "val", "test"], ["", "", recording]])
    with (root / "data_info_release.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["recording_name", "body_idx_0", "body_idx_1", "body_idx_fpv", "start_frame", "end_frame"])
        writer.writerow([recording, "0 male", "1 female", "1 female", 0, FRAMES - 1])
    to_kinect = np.eye(4)
    to_kinect[:3, :3] = smpl.rotations(np.array([0.1, 0.7, -0.2]))
    to_kinect[:3, 3] = [0.5, -0.3, 1.0]
    folder = root / "calibrations" / recording / "cal_trans"
    folder.mkdir(parents=True)
    (folder / "holo_to_kinect12.json").write_text(json.dumps({"trans": to_kinect.tolist()}))
    headset = root / "egocentric_color" / recording / "2021-01-01-000000"
    headset.mkdir(parents=True)
    camera = Camera(1920, 1080, 1400.0, 1410.0, 960.0, 540.0)
    expected, names, points = np.empty((FRAMES, 22, 3)), [], []
    lines = ["960.0,540.0,1920,1080"]
    for frame in range(FRAMES):
        stamp = 132_000_000_000_000_000 + round(frame * 1e7 / FPS)
        # The left shoulder, joint 16, turns the arm about x; the whole body is 1.05 times as large.
        body_pose = np.zeros((21, 3))
        body_pose[15] = [-0.8 * frame / FRAMES, 0.0, 0.0]
        large = 1.05 * rest
        turn = smpl.rotations(body_pose[15])
        posed = large.copy()
        for joint in (18, 20):
            posed[joint] = large[16] + turn @ (large[joint] - large[16])
        # Where the camera's frame is y up and looks along -z, and how it is carried about.
        optical = to_camera(posed)
        expected[frame] = optical
        headset_frame = optical @ egobody.OPTICAL
        to_world = np.eye(4)
        to_world[:3, :3] = smpl.rotations(np.array([0.0, 0.01 * frame, 0.02]))
        to_world[:3, 3] = [0.01 * frame, 1.6, 0.0]
        kinect = (to_kinect @ to_world @ np.vstack([headset_frame.T, np.ones(22)]))[:3].T
        # The body's own pose in the Kinect's frame: a turn about the pelvis, and a shift.
        room = to_kinect[:3, :3] @ to_world[:3, :3] @ egobody.OPTICAL @ ROOM_TO_CAMERA[:3, :3]
        angle = np.arccos((np.trace(room) - 1) / 2)
        axis = np.array([room[2, 1] - room[1, 2], room[0, 2] - room[2, 0], room[1, 0] - room[0, 1]])
        result = root / "smplx_interactee_test" / recording / "body_idx_1" / "results" / f"frame_{frame:05d}"
        result.mkdir(parents=True)
        parameters = {
            "betas": np.array([[0.5, *[0.0] * 9]], dtype=np.float32),
            "global_orient": (angle * axis / np.linalg.norm(axis))[None].astype(np.float32),
            "body_pose": body_pose.reshape(1, 63).astype(np.float32),
            "transl": (kinect[0] - large[0])[None].astype(np.float32),
            "gender": "female",
        }
        (result / "000.pkl").write_bytes(pickle.dumps(parameters))
        # The focal length changes half way; the last line is of a frame that was not annotated.
        zoom = 1.0 if frame < FRAMES // 2 else 1.02
        words = [stamp, camera.fx_px * zoom, camera.fy_px * zoom, *to_world.ravel()]
        lines.append(",".join(str(word) for word in words))
        names.append(f"egocentric_color/{recording}/x/PV/{stamp}_frame_{frame:05d}.jpg")
        seen = np.zeros((25, 3))
        for name in LIMBS:
            pixel = camera.pixels(optical[smpl.PLACES[name]])
            seen[OPENPOSE_25[name]] = [*((pixel - [960.0, 540.0]) * zoom + [960.0, 540.0]), 0.8]
        points.append(seen)
    (headset / "2021-01-01-000000_pv.txt").write_text("\n".join(lines) + "\n")
    names.append(f"egocentric_color/{recording}/x/PV/1_frame_99999.jpg")
    np.savez(headset / "keypoints.npz", imgname=np.array(names), keypoints=np.stack([*points, points[0]]))
    return expected


def test_egobody_goes_from_parameters_to_the_headsets_camera(tmp_path: Path) -> None:
    expected = write_egobody(tmp_path)
    assert egobody.convert(tmp_path, "test", tmp_path / "smplx", tmp_path / "clips") == 1
    (entry,) = json.loads((tmp_path / "clips" / "index.json").read_text())
    tensors = load_file(tmp_path / "clips" / entry["file"])
    ours, known = our_joints(expected, smpl.PLACES)
    assert (tensors["known"][:, 0] > 0).all(axis=0).sum() == known.all(axis=0).sum() == len(COMPARED)
    np.testing.assert_allclose(tensors["joints"][:, 0][known], ours[known], atol=1e-4)
    # Keypoints lie on the joints through the first frame's camera, whatever the focus did.
    pixels = LANDSCAPE.pixels(ours)
    for name in LIMBS:
        at = tensors["keypoints"][:, 0, KEYPOINTS.index(name)]
        np.testing.assert_allclose(at[:, :2], pixels[:, JOINTS.index(name)], atol=0.1, err_msg=name)
    np.testing.assert_allclose(np.diff(tensors["time_s"]), 1 / FPS, atol=1e-4)
    assert entry["keypoints"] == "detected"


def test_egobody_of_another_layout_is_refused_by_name(tmp_path: Path) -> None:
    write_egobody(tmp_path)
    (tmp_path / "data_info_release.csv").write_text("recording_name,body_idx_fpv\nrecording_20210101_S01_S02_01,one\n")
    with pytest.raises(ConvertError, match="body_idx_fpv = 'one'"):
        egobody.convert(tmp_path, "test", tmp_path / "smplx", tmp_path / "clips")


# --- through the program ----------------------------------------------------


def evaluated(folder: Path) -> dict[str, Any]:
    command = [str(PROGRAM), "eval", "--clips", str(folder), "--methods", "latent", "--json"]
    environment = {**os.environ, "POISED_MODELS": str(REPOSITORY / "models")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    table: dict[str, Any] = json.loads(done.stdout)
    return table


@needs_program
def test_from_the_published_files_to_the_error_that_was_built_in(tmp_path: Path) -> None:
    """The walker is lifted well; with a wrist put 5 m away, MPJPE grows by 5 m over the joints compared."""

    def far(found: dict[str, Any]) -> None:
        found["jointPositions"][0].reshape(FRAMES, 24, 3)[:, smpl.PLACES["left_wrist"]] += [5.0, 0.0, 0.0]

    errors = []
    for name, change in (("near", lambda found: None), ("far", far)):
        write_3dpw(tmp_path / name, change)
        command = [sys.executable, str(Path(threedpw.__file__)), str(tmp_path / name), "--out", str(tmp_path / name)]
        subprocess.run(command, check=True, capture_output=True)
        table = evaluated(tmp_path / name)
        (row,) = (row for row in table["rows"] if row["scenario"] == "3dpw")
        assert table["frames"] == FRAMES and table["keypoints"] == {"3dpw": ["detected"]}
        errors.append(row["mpjpe_mm"])
    near, far_mm = errors
    assert near < 100.0
    assert abs((far_mm - near) - 5000.0 / len(COMPARED)) < 2 * near


@needs_program
@pytest.mark.parametrize("made", [write_3dhp_train, write_egobody])
def test_every_converters_folder_is_one_that_the_program_takes(tmp_path: Path, made: Callable[[Path], Any]) -> None:
    made(tmp_path)
    if made is write_egobody:
        egobody.convert(tmp_path, "test", tmp_path / "smplx", tmp_path / "clips")
    else:
        mpi_inf_3dhp.convert(tmp_path, "train", [0, 1], FPS, tmp_path / "clips")
    rows = evaluated(tmp_path / "clips")["rows"]
    assert all(10.0 < row["pa_mpjpe_mm"] < 100.0 for row in rows), rows


def test_keypoints_of_a_perfect_detector_stop_at_the_images_border() -> None:
    joints, known = our_joints(arranged(smpl.PLACES, 24), smpl.PLACES)
    points = projected(joints, known, LANDSCAPE)
    assert (points[:, KEYPOINTS.index("left_hip"), 2] == 1).all()
    assert np.isnan(points[:, KEYPOINTS.index("nose")]).all()
    joints[..., 0] += 40.0
    assert not (projected(joints, known, LANDSCAPE)[:, KEYPOINTS.index("left_hip"), 2] > 0).any()


def test_what_is_not_finite_is_not_written(tmp_path: Path) -> None:
    joints, known = our_joints(arranged(smpl.PLACES, 24), smpl.PLACES)
    joints[3, JOINTS.index("left_knee")] = np.nan
    points = projected(joints, known, LANDSCAPE)
    clip = Clip("a", "g", "s", FPS, "projected", "ours", LANDSCAPE, points[:, None], joints[:, None], known[:, None])
    clip.write(tmp_path)
    tensors = load_file(tmp_path / "a.safetensors")
    assert all(np.isfinite(tensor).all() for tensor in tensors.values())
    assert tensors["known"][3, 0, JOINTS.index("left_knee")] == 0
