"""Reads a running daemon as ROS 2 does, and says what it saw.

- With the message classes of ROS 2 Jazzy (rclpy): each message is deserialised, checked, and published again over
  Fast DDS, where another subscription receives it.
- With zenoh-ros2-sdk, which reckons keys, hashes and tokens by itself and knows nothing of this project.

Starts a router, as rmw_zenohd is one, and the daemon with a synthetic camera over a mount. ROS is not needed:

    python3 -m venv /tmp/ros && /tmp/ros/bin/pip install eclipse-zenoh==1.10.2 rosbags==0.11.9 \
        zenoh-ros2-sdk==0.1.8 ros-jazzy-rclpy ros-jazzy-rmw-fastrtps-cpp ros-jazzy-std-msgs \
        ros-jazzy-geometry-msgs ros-jazzy-sensor-msgs ros-jazzy-visualization-msgs ros-jazzy-diagnostic-msgs
    cargo build --bin poised && /tmp/ros/bin/python tests/ros2/real.py target/debug/poised

x86-64 only: there are no such wheels for others.
"""

import argparse
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import zenoh

ROOT = Path(__file__).parents[2]
DOMAIN = 0
TOPICS = {
    "/poised/front/joints": "sensor_msgs/msg/PointCloud2",
    "/poised/front/markers": "visualization_msgs/msg/MarkerArray",
    "/diagnostics": "diagnostic_msgs/msg/DiagnosticArray",
    "/tf": "tf2_msgs/msg/TFMessage",
}
# A message with a person is longer; one of an empty room is shorter.
PERSON_BYTES = 500
# There is no wheel of tf2_msgs.
TF_MESSAGE = "geometry_msgs/TransformStamped[] transforms\n"

CALIBRATION = """
camera = "synthetic"
[image]
width_px = 320
height_px = 240
[intrinsics]
fx_px = 277.0
fy_px = 277.0
cx_px = 159.5
cy_px = 119.5
[distortion]
model = "none"
[mount]
height_m = 1.5
down_deg = 5.0
"""


def config(mode: str, key: str, port: int) -> zenoh.Config:
    made = zenoh.Config()
    made.insert_json5("mode", f'"{mode}"')
    made.insert_json5(f"{key}/endpoints", f'["tcp/127.0.0.1:{port}"]')
    made.insert_json5("scouting/multicast/enabled", "false")
    return made


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def start_daemon(program: str, folder: Path, port: int) -> subprocess.Popen:
    (folder / "camera.toml").write_text(CALIBRATION)
    text = f"""
[camera]
name = "front"
[camera.synthetic]
width_px = 320
height_px = 240
[calibration]
file = "{folder}/camera.toml"
[zenoh]
device = "kiosk-3"
listen = ["tcp/127.0.0.1:0"]
[ros]
connect = "tcp/127.0.0.1:{port}"
domain = {DOMAIN}
"""
    path = folder / "poised.toml"
    path.write_text(text)
    env = {**os.environ, "POISED_MODELS": str(ROOT / "models")}
    return subprocess.Popen([program, "run", "-c", str(path)], env=env)


def with_rclpy(port: int, seconds: float) -> None:
    import rclpy
    from diagnostic_msgs.msg import DiagnosticArray
    from rclpy.serialization import deserialize_message
    from sensor_msgs.msg import PointCloud2
    from visualization_msgs.msg import MarkerArray

    rclpy.init()
    node = rclpy.create_node("judge")
    numbers: dict[str, list[int]] = defaultdict(list)
    received: dict[str, int] = defaultdict(int)
    last = {}
    session = zenoh.open(config("client", "connect", port))
    subscriptions = []
    for topic, kind in zip(TOPICS, (PointCloud2, MarkerArray, DiagnosticArray), strict=False):
        publisher = node.create_publisher(kind, topic, 10)

        def take(message, topic=topic):
            received[topic] += 1

        node.create_subscription(kind, topic, take, 10)

        def judge(sample, topic=topic, kind=kind, publisher=publisher):
            attachment = sample.attachment.to_bytes()
            number, _time, length = struct.unpack("<qqB", attachment[:17])
            assert (len(attachment), length) == (33, 16)
            numbers[topic].append(number)
            last[topic] = deserialize_message(sample.payload.to_bytes(), kind)
            publisher.publish(last[topic])

        subscriptions.append(session.declare_subscriber(f"{DOMAIN}{topic}/*/*", judge))
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        rclpy.spin_once(node, timeout_sec=0.05)
    for topic, seen in numbers.items():
        gaps = sum(b - a != 1 for a, b in zip(seen, seen[1:], strict=False))
        print(f"rclpy {topic}: {len(seen)} read, {gaps} gaps, {received[topic]} received again over DDS")
        assert len(seen) >= seconds / 2 and gaps == 0 and received[topic] > 0
    cloud, markers = last["/poised/front/joints"], last["/poised/front/markers"]
    print("rclpy joints:", cloud.header.frame_id, cloud.width, "points of", [f.name for f in cloud.fields])
    print("rclpy markers:", [(m.ns, m.id, len(m.points), m.text) for m in markers.markers])
    status = last["/diagnostics"].status[0]
    print("rclpy diagnostics:", status.level, status.name, "|", status.message, "|", len(status.values), "values")
    assert len(cloud.data) == cloud.width * cloud.point_step
    assert len(numbers) == 3
    session.close()
    rclpy.shutdown()


def with_sdk(port: int, seconds: float, messages: Path) -> None:
    import zenoh_ros2_sdk.message_registry as registry
    from zenoh_ros2_sdk import ROS2Subscriber

    # It would fetch the definitions from the network; these are the same, from the wheels.
    (messages / "tf2_msgs" / "msg").mkdir(parents=True, exist_ok=True)
    (messages / "tf2_msgs" / "msg" / "TFMessage.msg").write_text(TF_MESSAGE)

    def local(self, name: str):
        package, _, message = name.split("/")
        for folder in (Path(sys.prefix) / "share", messages):
            path = folder / package / "msg" / f"{message}.msg"
            if path.exists():
                return path
        return None

    registry.MessageRegistry.get_msg_file_path = local
    seen: dict[str, list] = defaultdict(list)
    subscribers = [
        ROS2Subscriber(topic, kind, seen[topic].append, router_ip="127.0.0.1", router_port=port)
        for topic, kind in TOPICS.items()
    ]
    time.sleep(seconds)
    for (topic, kind), subscriber in zip(TOPICS.items(), subscribers, strict=True):
        print(f"sdk {topic} {kind} {subscriber.type_hash[:19]}: {len(seen[topic])} messages")
        assert len(seen[topic]) >= seconds / 2, topic
    placed = seen["/tf"][-1].transforms[0]
    at, q = placed.transform.translation, placed.transform.rotation
    print("sdk tf:", placed.header.frame_id, "->", placed.child_frame_id, (at.x, at.y, at.z), (q.x, q.y, q.z, q.w))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", help="the built daemon")
    parser.add_argument("--seconds", type=float, default=8, help="how long to listen with each")
    options = parser.parse_args()
    port = free_port()
    router = zenoh.open(config("router", "listen", port))
    with tempfile.TemporaryDirectory() as name:
        daemon = start_daemon(options.program, Path(name), port)
        try:
            wait = zenoh.open(config("client", "connect", port))
            first = wait.declare_subscriber(f"{DOMAIN}/poised/front/joints/**")
            while len(first.recv().payload.to_bytes()) < PERSON_BYTES:
                pass
            # How the camera hangs is known a moment after the first pose, and its topic with it.
            for _ in range(50):
                found = wait.liveliness().get(f"@ros2_lv/{DOMAIN}/**")
                tokens = [str(reply.ok.key_expr) for reply in found if reply.ok]
                if len(tokens) == 1 + len(TOPICS):
                    break
                time.sleep(0.1)
            print("\n".join(sorted(tokens)))
            assert len(tokens) == 1 + len(TOPICS)
            wait.close()
            with_rclpy(port, options.seconds)
            with_sdk(port, options.seconds, Path(name))
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(20)
    router.close()
    print("good")
    sys.stdout.flush()
    # The SDK's own threads do not end.
    os._exit(0)


if __name__ == "__main__":
    main()
