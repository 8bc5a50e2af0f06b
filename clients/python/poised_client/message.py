"""The message `pose/v1`: CBOR to objects.

Lengths are metres in the camera's optical frame (x right, y down, z forward), times nanoseconds, places in the image
pixels. `docs/reference/messages.md` of poised explains every field.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import cbor2

SCHEMA = "pose/v1"

JOINT_NAMES = (
    *("pelvis", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle"),
    *("spine", "thorax", "neck", "head", "left_shoulder", "left_elbow", "left_wrist"),
    *("right_shoulder", "right_elbow", "right_wrist"),
)

KEYPOINT_NAMES = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder"),
    *("left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip"),
    *("left_knee", "right_knee", "left_ankle", "right_ankle"),
)

State = Literal["absent", "measured", "completed"]

STATES: tuple[State, ...] = ("absent", "measured", "completed")

Point = tuple[float, float, float]


class MessageError(ValueError):
    """The bytes are no message of this version."""


@dataclass(frozen=True, slots=True)
class Joint:
    """A joint. An absent one has neither place nor sigma."""

    name: str
    state: State
    place_m: Point | None
    """In the camera's optical frame."""
    sigma_m: float | None
    """Standard deviation relative to the person's root, per axis."""


@dataclass(frozen=True, slots=True)
class Keypoint:
    """Where a keypoint is in the image."""

    name: str
    x_px: float
    y_px: float
    confidence: float
    """Chance that it lies within 0.2 torso lengths of the truth, visible or not, 0 to 1."""
    visibility: float
    """Chance that the camera sees it, 0 to 1; the confidence where an older daemon does not publish it."""


@dataclass(frozen=True, slots=True)
class Action:
    """What a person does."""

    label: str
    probability: float
    source: str
    """`dictionary` or `hint`."""


@dataclass(frozen=True, slots=True)
class Size:
    """How large a person is against the estimate from body proportions alone."""

    factor: float
    sigma: float
    """Relative standard deviation."""
    source: str
    """`guess` or `floor`."""


@dataclass(frozen=True, slots=True)
class Person:
    """One person in one frame."""

    id: int
    """The same from frame to frame."""
    score: float
    box_px: tuple[float, float, float, float]
    """Left, top, right, bottom."""
    root_m: Point | None
    """The pelvis; None where too little of the person is in view for a position in space."""
    root_sigma_m: float | None
    """Standard deviation of the root along the line of sight; None where the root is."""
    joints: tuple[Joint, ...]
    """In the order of `JOINT_NAMES`."""
    keypoints: tuple[Keypoint, ...]
    """In the order of `KEYPOINT_NAMES`."""
    action: Action | None
    size: Size | None
    """None from publishers older than this field."""
    head_generation: int
    """0: the head as shipped."""
    head_adapted: bool

    def joint(self, name: str) -> Joint:
        """The joint of this name; ValueError if there is none."""
        return self.joints[JOINT_NAMES.index(name)]


@dataclass(frozen=True, slots=True)
class Pose:
    """All people of one frame."""

    sequence: int
    """Counts the messages of a publisher; a gap is a lost message."""
    camera: str
    frame_id: str
    clock: str
    """Of `capture_ns` and `publish_ns`: `monotonic` or `recording`."""
    capture_ns: int
    publish_ns: int
    capture_unix_ns: int
    unix_offset_ns: int
    age_ms: float
    frame_sequence: int
    image_px: tuple[int, int]
    persons: tuple[Person, ...]


def parse(message: bytes) -> Pose:
    """The pose in a message; MessageError says what is wrong with one that is none."""
    try:
        return of(cbor2.loads(message))
    except cbor2.CBORDecodeError as error:
        raise MessageError(f"no CBOR: {error}") from error


def of(message: object) -> Pose:
    """The pose in a decoded message."""
    schema = message.get("schema") if isinstance(message, Mapping) else None
    if not isinstance(message, Mapping) or schema != SCHEMA:
        raise MessageError(f"schema is {schema!r}, expected {SCHEMA!r}")
    try:
        width, height = message["image_px"]
        return Pose(
            sequence=message["sequence"],
            camera=message["camera"],
            frame_id=message["frame_id"],
            clock=message["clock"],
            capture_ns=message["capture_ns"],
            publish_ns=message["publish_ns"],
            capture_unix_ns=message["capture_unix_ns"],
            unix_offset_ns=message["unix_offset_ns"],
            age_ms=message["age_ms"],
            frame_sequence=message["frame_sequence"],
            image_px=(width, height),
            persons=tuple(_person(person) for person in message["persons"]),
        )
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise MessageError(f"not {SCHEMA}: {type(error).__name__}: {error}") from error


def _person(person: Mapping[str, Any]) -> Person:
    left, top, right, bottom = person["box_px"]
    joints = zip(JOINT_NAMES, person["states"], person["joints_m"], person["sigmas_m"], strict=True)
    places = [_point(place) for place in person["keypoints_px"]]
    visibilities = person.get("visibilities", [confidence for _, _, confidence in places])
    keypoints = zip(KEYPOINT_NAMES, places, visibilities, strict=True)
    action, size, head = person["action"], person.get("size"), person["head"]
    return Person(
        id=person["id"],
        score=person["score"],
        box_px=(left, top, right, bottom),
        root_m=None if person["root_m"] is None else _point(person["root_m"]),
        root_sigma_m=person["root_sigma_m"],
        joints=tuple(_joint(*joint) for joint in joints),
        keypoints=tuple(Keypoint(name, *place, visibility) for name, place, visibility in keypoints),
        action=Action(action["label"], action["probability"], action["source"]) if action else None,
        size=Size(size["factor"], size["sigma"], size["source"]) if size else None,
        head_generation=head["generation"],
        head_adapted=head["adapted"],
    )


def _joint(name: str, state: int, place: list[float] | None, sigma: float | None) -> Joint:
    if not 0 <= state < len(STATES):
        raise ValueError(f"state of {name} is {state}")
    if (place is None) != (state == 0) or (sigma is None) != (state == 0):
        raise ValueError(f"{name} is {STATES[state]}, its place {place} and its sigma {sigma}")
    return Joint(name, STATES[state], None if place is None else _point(place), sigma)


def _point(place: list[float]) -> Point:
    x, y, z = place
    return (x, y, z)
