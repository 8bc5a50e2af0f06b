"""The messages for ROS 2, read by rosbags: a decoder of CDR and a reckoner of type hashes that shares nothing with
this project. `tests/program/ros.rs` holds the daemon's bytes against the same golden files."""

from pathlib import Path

import numpy as np
import pytest
from rosbags.typesys import Stores, get_typestore

GOLDEN = Path(__file__).parents[1] / "golden" / "ros2"
TYPES = {
    "joints": "sensor_msgs/msg/PointCloud2",
    "markers": "visualization_msgs/msg/MarkerArray",
    "diagnostics": "diagnostic_msgs/msg/DiagnosticArray",
    "tf": "tf2_msgs/msg/TFMessage",
}
# The time and the place of the first person's pelvis in tests/common/samples.rs.
STAMP = (1_790_005_000, 0)
PELVIS = (0.0, 0.25, 3.0)


def read(topic: str):
    store = get_typestore(Stores.ROS2_JAZZY)
    raw = (GOLDEN / f"{topic}.cdr").read_bytes()
    message = store.deserialize_cdr(raw, TYPES[topic])
    assert bytes(store.serialize_cdr(message, TYPES[topic])) == raw, "the same bytes, padding too"
    return message


def stamp_of(header) -> tuple[int, int]:
    return header.stamp.sec, header.stamp.nanosec


@pytest.mark.parametrize("store", [Stores.ROS2_JAZZY, Stores.ROS2_KILTED])
def test_hashes_are_those_of_the_definitions(store: Stores) -> None:
    types = get_typestore(store)
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
