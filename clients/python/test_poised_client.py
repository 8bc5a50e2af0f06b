"""The client against the messages of the repository, and against the demo where the program is built."""

import logging
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("cbor2", reason="cbor2 is not installed (clients/python/requirements.txt)")
pytest.importorskip("zenoh", reason="eclipse-zenoh is not installed (clients/python/requirements.txt)")

import cbor2

from poised_client import JOINT_NAMES, MessageError, Recording, parse, poses

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = (ROOT / "tests/golden/pose_v1.cbor").read_bytes()
BEFORE_VISIBILITIES = (ROOT / "tests/golden/pose_v1_before_visibilities.cbor").read_bytes()
PROGRAM = Path(os.environ.get("POISED_PROGRAM", ROOT / "target/debug/poised"))
DEMO_ENDPOINT = "tcp/127.0.0.1:7447"


def test_the_golden_message_has_the_values_of_the_documents() -> None:
    pose = parse(GOLDEN)
    assert (pose.sequence, pose.camera, pose.frame_id) == (41, "front", "front_optical_frame")
    assert (pose.capture_ns, pose.image_px) == (5_000_000_000_000, (640, 480))
    first, second = pose.persons
    assert (first.id, second.id) == (7, 12)
    assert first.action is not None and first.action.label == "raises the left arm"
    assert second.action is None and second.head_adapted and second.head_generation == 3
    assert first.size is not None and (first.size.factor, first.size.source) == (1.0625, "floor")
    knee, spine = first.joint("right_knee"), second.joint("spine")
    assert (knee.state, knee.place_m, knee.sigma_m) == ("absent", None, None)
    assert spine.state == "completed" and spine.place_m is not None
    assert first.joint("pelvis").place_m == (0.0, 0.25, 3.0)
    assert [joint.name for joint in first.joints] == list(JOINT_NAMES)
    assert (first.keypoints[0].name, first.keypoints[0].x_px) == ("nose", 110.5)
    assert (first.keypoints[1].confidence, first.keypoints[1].visibility) == (0.96875, 0.984375)
    (before, _) = parse(BEFORE_VISIBILITIES).persons
    assert (before.keypoints[1].confidence, before.keypoints[1].visibility) == (0.96875, 0.96875)
    with pytest.raises(ValueError):
        first.joint("tail")


def test_what_is_no_message_is_refused() -> None:
    for message, words in [
        (b"", "no CBOR"),
        (GOLDEN[:-1], "no CBOR"),
        (cbor2.dumps([1]), "schema is None"),
        (cbor2.dumps({"schema": "pose/v2"}), "'pose/v2'"),
        (cbor2.dumps({"schema": "pose/v1"}), "KeyError: 'image_px'"),
    ]:
        with pytest.raises(MessageError, match=words):
            parse(message)
    # A person of whom too little is in view for a position in space.
    pose = cbor2.loads(GOLDEN)
    pose["persons"][0] |= {"root_m": None, "root_sigma_m": None, "states": [0] * 17}
    pose["persons"][0] |= {"joints_m": [None] * 17, "sigmas_m": [None] * 17}
    unplaced = parse(cbor2.dumps(pose)).persons[0]
    assert (unplaced.root_m, unplaced.root_sigma_m) == (None, None) and len(unplaced.keypoints) == 17
    # A place for a joint that is absent.
    pose = cbor2.loads(GOLDEN)
    pose["persons"][0]["states"][0] = 0
    with pytest.raises(MessageError, match="pelvis is absent"):
        parse(cbor2.dumps(pose))
    # A later publisher may add keys.
    assert parse(cbor2.dumps({**cbor2.loads(GOLDEN), "later": 1})) == parse(GOLDEN)


def test_a_recording_is_read_to_its_end_and_a_cut_one_to_the_cut(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    head = cbor2.dumps({"recording": "poised-recording/v1", "calibration": "# lens"})
    path = tmp_path / "a.poses"
    path.write_bytes(head + 3 * GOLDEN)
    recording = Recording(path)
    assert recording.calibration == "# lens"
    assert list(recording) == 3 * [parse(GOLDEN)]
    assert len(list(recording)) == 3, "it can be read again"
    assert not caplog.records
    for cut in (1, len(GOLDEN) - 1):
        path.write_bytes((head + 3 * GOLDEN)[:-cut])
        with caplog.at_level(logging.WARNING):
            assert len(list(Recording(path))) == 2
        assert "message 2, at byte" in caplog.text
        caplog.clear()
    for wrong in (b"", b"words", GOLDEN, head[:-1]):
        path.write_bytes(wrong)
        with pytest.raises(MessageError, match="not a recording"):
            Recording(path)


def test_nothing_published_is_a_timeout() -> None:
    with pytest.raises(TimeoutError, match="poised/none"):
        next(poses("poised/none/*/*/poses", timeout_s=0.3, connect=[]))


@pytest.fixture
def demo() -> Iterator[None]:
    """A daemon on the synthetic camera; it ends by itself after a minute."""
    if not PROGRAM.is_file():
        pytest.skip(f"{PROGRAM} is not built")
    with subprocess.Popen([PROGRAM, "demo", "--seconds", "60", "--scenario", "squat"], cwd=ROOT) as running:
        yield
        running.terminate()


@pytest.mark.usefixtures("demo")
def test_live_poses_come_in_order() -> None:
    seen = []
    for pose in poses(connect=DEMO_ENDPOINT, timeout_s=30.0):
        if pose.persons:
            seen.append(pose)
        if len(seen) == 20:
            break
    numbers = [pose.sequence for pose in seen]
    assert numbers == sorted(set(numbers))
    places = [joint.place_m for pose in seen for person in pose.persons for joint in person.joints]
    depths = [place[2] for place in places if place]
    assert len(depths) > 200 and all(0.5 < depth < 20.0 for depth in depths)
