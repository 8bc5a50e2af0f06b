//! The definitions of the messages for ROS 2, with all they contain, as ROS 2 Jazzy has them: readers of MCAP files
//! and of the Foxglove protocol decode by them.

use crate::counters::RosTopic;

/// Encoding of the definitions, and that of messages by them.
pub(in crate::output) const ENCODING: &str = "ros2msg";
pub(in crate::output) const MESSAGE_ENCODING: &str = "cdr";

/// Name and definition of a topic's messages.
pub(in crate::output) const fn schema(topic: RosTopic) -> (&'static str, &'static str) {
    match topic {
        RosTopic::Joints => (
            "sensor_msgs/msg/PointCloud2",
            include_str!("point_cloud2.msg"),
        ),
        RosTopic::Markers => (
            "visualization_msgs/msg/MarkerArray",
            include_str!("marker_array.msg"),
        ),
        RosTopic::Diagnostics => (
            "diagnostic_msgs/msg/DiagnosticArray",
            include_str!("diagnostic_array.msg"),
        ),
        RosTopic::Tf => ("tf2_msgs/msg/TFMessage", include_str!("tf_message.msg")),
    }
}
