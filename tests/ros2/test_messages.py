"""The messages for ROS 2, read by rosbags: a decoder of CDR and a reckoner of type hashes that shares nothing with
this project. `tests/program/ros.rs` holds the daemon's bytes against the same golden files."""

from pathlib import Path

import numpy as np
import pytest
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

GOLDEN = Path(__file__).parents[1] / "golden" / "ros2"
TYPES = {
    "joints": "sensor_msgs/msg/PointCloud2",
    "markers": "visualization_msgs/msg/MarkerArray",
    "diagnostics": "diagnostic_msgs/msg/DiagnosticArray",
    "tf": "tf2_msgs/msg/TFMessage",
    "ids": "hri_msgs/msg/IdsList",
    "roi": "hri_msgs/msg/NormalizedRegionOfInterest2D",
    "skeleton2d": "hri_msgs/msg/Skeleton2D",
}
# Keypoints of hri_msgs/Skeleton2D in their order, and as COCO numbers them; the neck is between the shoulders.
KEYPOINTS = {"NOSE": 0, "NECK": None, "RIGHT_SHOULDER": 6, "RIGHT_ELBOW": 8, "RIGHT_WRIST": 10, "LEFT_SHOULDER": 5}
KEYPOINTS |= {"LEFT_ELBOW": 7, "LEFT_WRIST": 9, "RIGHT_HIP": 12, "RIGHT_KNEE": 14, "RIGHT_ANKLE": 16, "LEFT_HIP": 11}
KEYPOINTS |= {"LEFT_KNEE": 13, "LEFT_ANKLE": 15, "RIGHT_EYE": 2, "LEFT_EYE": 1, "RIGHT_EAR": 4, "LEFT_EAR": 3}
# hri_msgs 2.0, which rosbags does not bring.
HRI_MSGS = {
    "IdsList": "std_msgs/Header header\nstring[] ids\n",
    "NormalizedPointOfInterest2D": "float32 x\nfloat32 y\nfloat32 c\n",
    "NormalizedRegionOfInterest2D": "std_msgs/Header header\n"
    + "".join(f"float32 {name}\n" for name in ("xmin", "ymin", "xmax", "ymax", "c")),
    "Skeleton2D": "".join(f"uint8 {name}={at}\n" for at, name in enumerate(KEYPOINTS))
    + "std_msgs/Header header\nhri_msgs/NormalizedPointOfInterest2D[18] skeleton\n",
}
# The time and the place of the first person's pelvis in tests/common/samples.rs.
STAMP = (1_790_005_000, 0)
PELVIS = (0.0, 0.25, 3.0)


def types_of(release: Stores):
    store = get_typestore(release)
    for name, text in HRI_MSGS.items():
        store.register(get_types_from_msg(text, f"hri_msgs/msg/{name}"))
    return store


def read(topic: str):
    store = types_of(Stores.ROS2_JAZZY)
    raw = (GOLDEN / f"{topic}.cdr").read_bytes()
    message = store.deserialize_cdr(raw, TYPES[topic])
    assert bytes(store.serialize_cdr(message, TYPES[topic])) == raw, "the same bytes, padding too"
    return message


def stamp_of(header) -> tuple[int, int]:
    return header.stamp.sec, header.stamp.nanosec


@pytest.mark.parametrize("store", [Stores.ROS2_JAZZY, Stores.ROS2_KILTED])
def test_hashes_are_those_of_the_definitions(store: Stores) -> None:
    types = types_of(store)
    stored = dict(line.split() for line in (GOLDEN / "types.txt").read_text().splitlines())
    assert stored == {name: types.hash_rihs01(name) for name in TYPES.values()}


def test_joints_are_points_with_all_their_fields() -> None:
    cloud = read("joints")
    assert stamp_of(cloud.header) == STAMP
    assert cloud.header.frame_id == "front_optical_frame"
    kinds = {2: "u1", 4: "<u2", 7: "<f4"}
    dtype = np.dtype(
        {
            "names": [field.name for field in cloud.fields],
            "formats": [kinds[field.datatype] for field in cloud.fields],
            "offsets": [field.offset for field in cloud.fields],
            "itemsize": cloud.point_step,
        }
    )
    assert all(field.count == 1 for field in cloud.fields)
    points = np.frombuffer(bytes(cloud.data), dtype)
    assert (cloud.height, cloud.width, cloud.row_step) == (1, len(points), len(cloud.data))
    assert cloud.is_dense and not cloud.is_bigendian
    # Four joints of the first person are absent, one of the second is completed.
    first, second = (points[points["person"] == person] for person in (7, 12))
    assert list(first["joint"]) == [0, 1, 4, *range(7, 17)]
    assert list(second["joint"]) == list(range(17))
    assert set(first["state"]) == {1} and list(np.flatnonzero(second["state"] == 2)) == [7]
    pelvis = first[0]
    assert (pelvis["x"], pelvis["y"], pelvis["z"]) == PELVIS
    # Between both hips, as sure as the less sure of the two.
    assert pelvis["confidence"] == np.float32(1 - 12 / 32)
    assert pelvis["sigma"] == np.float32(1 / 64)
    assert first[-1]["confidence"] == np.float32(1 - 10 / 32)


def test_markers_are_skeletons_and_labels_that_vanish() -> None:
    markers = read("markers").markers
    assert [(m.ns, m.id, m.type) for m in markers] == [
        ("skeleton", 7, 5),
        ("label", 7, 9),
        ("skeleton", 12, 5),
        ("label", 12, 9),
    ]
    for marker in markers:
        assert stamp_of(marker.header) == STAMP
        assert marker.header.frame_id == "front_optical_frame"
        assert (marker.lifetime.sec, marker.lifetime.nanosec) == (0, 500_000_000)
        assert marker.pose.orientation.w == 1 and marker.color.a == 1 and marker.action == 0
    skeleton, label, whole, other = markers
    assert label.text == "7 raises the left arm" and other.text == "12"
    assert label.scale.z > 0 and skeleton.scale.x > 0
    # Of sixteen bones, four have an absent end.
    assert len(skeleton.points) == 2 * 12 and len(whole.points) == 2 * 16
    ends = {(p.x, p.y, p.z) for p in skeleton.points}
    assert PELVIS in ends
    alphas = [colour.a for colour in whole.colors]
    assert len(alphas) == 32 and alphas.count(1.0) == 28, "two bones end at the completed spine"


def test_diagnostics_say_how_the_daemon_is() -> None:
    array = read("diagnostics")
    assert array.header.frame_id == ""
    (status,) = array.status
    assert (status.name, status.message, status.hardware_id) == ("poised: front", "running", "kiosk-3")
    assert int(status.level) == 0
    values = {pair.key: pair.value for pair in status.values}
    assert values == {
        "camera_state": "running",
        "estimate_state": "working",
        "load.level": "full",
        "people": "2",
    }


def test_tf_says_where_the_camera_is_above_the_floor() -> None:
    (placed,) = read("tf").transforms
    assert stamp_of(placed.header) == STAMP
    assert (placed.header.frame_id, placed.child_frame_id) == ("front_floor", "front_optical_frame")
    at, q = placed.transform.translation, placed.transform.rotation
    assert (at.x, at.y, at.z) == (0, 0, 2)
    x, y, z, w = q.x, q.y, q.z, q.w
    assert np.isclose(x * x + y * y + z * z + w * w, 1, atol=1e-6)
    turned = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    # The mount of tests/program/ros.rs looks down by 30 degrees: ahead and down; right in the image is -y on the floor.
    ahead = np.array([np.cos(np.pi / 6), 0, -np.sin(np.pi / 6)])
    assert np.allclose(turned @ [0, 0, 1], ahead, atol=1e-6)
    assert np.allclose(turned @ [1, 0, 0], [0, -1, 0], atol=1e-6)


def test_people_are_named_boxed_and_drawn_as_rep_155_has_it() -> None:
    assert read("ids").ids == ["front_7", "front_12"]
    roi, skeleton = read("roi"), read("skeleton2d")
    for message in (roi, skeleton):
        assert stamp_of(message.header) == STAMP and message.header.frame_id == "front_optical_frame"
    assert 0 <= roi.xmin < roi.xmax <= 1 and 0 <= roi.ymin < roi.ymax <= 1 and 0 < roi.c <= 1
    points = np.array([[p.x, p.y, p.c] for p in skeleton.skeleton])
    assert points.shape == (18, 3) and np.isfinite(points).all() and (points >= 0).all() and (points <= 1).all()
    # tests/common/samples.rs gives keypoint k the confidence 1 - k / 32, and the program's gate hides the least sure.
    for at, coco in enumerate(KEYPOINTS.values()):
        wanted = 1 - (6 if coco is None else coco) / 32
        assert points[at, 2] in (np.float32(wanted), 0)
    nose, neck, right, left = points[0], points[1], points[2], points[5]
    assert nose[2] == 1 and np.allclose(neck[:2], (right[:2] + left[:2]) / 2, atol=1e-6)
