"""3D poses of poised: live over Zenoh (`poses`), and from recordings (`Recording`)."""

from .live import DEFAULT_ENDPOINT, poses
from .message import JOINT_NAMES, KEYPOINT_NAMES, Action, Joint, Keypoint, MessageError, Person, Pose, Size, parse
from .recording import Recording

__all__ = [
    "DEFAULT_ENDPOINT",
    "JOINT_NAMES",
    "KEYPOINT_NAMES",
    "Action",
    "Joint",
    "Keypoint",
    "MessageError",
    "Person",
    "Pose",
    "Recording",
    "Size",
    "parse",
    "poses",
]
