"""Live poses over Zenoh."""

import json
import logging
import queue
from collections.abc import Iterator

import zenoh

from .message import MessageError, Pose, parse

DEFAULT_ENDPOINT = "tcp/127.0.0.1:7447"
"""Where a daemon on this machine listens."""

WAITING_MAX = 64
"""Messages that wait for the caller: two seconds of a camera. After that the oldest is dropped."""

_log = logging.getLogger(__name__)


def poses(
    key: str = "poised/*/*/*/poses",
    *,
    connect: str | list[str] = DEFAULT_ENDPOINT,
    timeout_s: float | None = None,
) -> Iterator[Pose]:
    """The poses that match `key` (`poised/<site>/<device>/<camera>/poses`), as they come, until the caller stops.

    A caller that is too slow loses the oldest; `Pose.sequence` shows it. Messages that are no poses are passed over,
    with a warning in the log. TimeoutError if none came for `timeout_s`.
    """
    waiting: queue.Queue[bytes] = queue.Queue(WAITING_MAX)

    def on_sample(sample: zenoh.Sample) -> None:
        message = sample.payload.to_bytes()
        while True:
            try:
                return waiting.put_nowait(message)
            except queue.Full:
                try:
                    waiting.get_nowait()
                except queue.Empty:
                    pass

    config = zenoh.Config()
    endpoints = [connect] if isinstance(connect, str) else connect
    config.insert_json5("connect/endpoints", json.dumps(endpoints))
    config.insert_json5("listen/endpoints", "[]")
    config.insert_json5("scouting/multicast/enabled", "false")
    with zenoh.open(config) as session:
        session.declare_subscriber(key, on_sample)
        while True:
            try:
                message = waiting.get(timeout=timeout_s)
            except queue.Empty:
                raise TimeoutError(f"{key}: no pose for {timeout_s} s") from None
            try:
                yield parse(message)
            except MessageError as error:
                _log.warning("%s: %s", key, error)
