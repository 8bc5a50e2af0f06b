"""Reads an MCAP file as a user of ROS 2 would, with the definitions in the file, and prints it as JSON."""

import json
import struct
import sys
from typing import Any

from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory

# Of sensor_msgs/PointField: struct's letter for a datatype.
LETTERS = {2: "B", 4: "H", 7: "f"}


def points(cloud: Any) -> list[dict[str, float]]:
    """The points of a cloud, by the names of its fields."""
    assert cloud.height == 1 and cloud.is_dense and not cloud.is_bigendian
    assert cloud.row_step == cloud.point_step * cloud.width == len(cloud.data)
    found = []
    for start in range(0, len(cloud.data), cloud.point_step):
        point = {}
        for field in cloud.fields:
            (point[field.name],) = struct.unpack_from("<" + LETTERS[field.datatype], cloud.data, start + field.offset)
        found.append(point)
    return found


def marker(made: Any) -> dict[str, Any]:
    """What a viewer draws of a marker."""
    return {
        "namespace": made.ns,
        "id": made.id,
        "type": made.type,
        "text": made.text,
        "at": [made.pose.position.x, made.pose.position.y, made.pose.position.z],
        "points": [[point.x, point.y, point.z] for point in made.points],
        "colors": len(made.colors),
        "lifetime_ns": made.lifetime.nanosec,
        "frame": made.header.frame_id,
    }


def main() -> None:
    counts: dict[str, int] = {}
    newest: dict[str, Any] = {}
    with open(sys.argv[1], "rb") as file:
        # The CRCs of chunks, data and summary are compared.
        reader = make_reader(file, validate_crcs=True, decoder_factories=[DecoderFactory()])
        for schema, channel, message in reader.iter_messages():
            counts[channel.topic] = counts.get(channel.topic, 0) + 1
            assert schema is not None
            newest[channel.topic] = {
                "schema": schema.name,
                "encoding": channel.message_encoding,
                "log_ns": message.log_time,
                "publish_ns": message.publish_time,
                "sequence": message.sequence,
                "bytes": message.data.hex(),
            }
        ros = [topic for topic, message in newest.items() if message["encoding"] == "cdr"]
        for _, channel, _, decoded in reader.iter_decoded_messages(topics=ros):
            if channel.topic.endswith("/joints"):
                newest[channel.topic]["points"] = points(decoded)
                newest[channel.topic]["frame"] = decoded.header.frame_id
                newest[channel.topic]["stamp"] = [decoded.header.stamp.sec, decoded.header.stamp.nanosec]
            elif channel.topic.endswith("/markers"):
                newest[channel.topic]["markers"] = [marker(made) for made in decoded.markers]
            else:
                (only,) = decoded.transforms
                turn = only.transform.rotation
                newest[channel.topic]["transform"] = {
                    "parent": only.header.frame_id,
                    "child": only.child_frame_id,
                    "rotation": [turn.x, turn.y, turn.z, turn.w],
                    "z": only.transform.translation.z,
                }
    json.dump({"counts": counts, "newest": newest}, sys.stdout)


if __name__ == "__main__":
    main()
