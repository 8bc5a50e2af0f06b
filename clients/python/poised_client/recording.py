"""Recordings (`.poses`): a map with format and calibration, then pose messages, one CBOR item after the other."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import cbor2

from .message import MessageError, Pose, of

FORMAT = "poised-recording/v1"

_log = logging.getLogger(__name__)


class Recording:
    """A recording. Each iteration reads it from the beginning, one message in memory at a time.

    One that breaks off, as after a power cut, gives the messages before that place, and a warning in the log.
    """

    def __init__(self, path: str | Path) -> None:
        """Opens a file; MessageError if it is no recording."""
        self.path = Path(path)
        with self.path.open("rb") as file:
            self.calibration = self._begin(file)[0]
        """Calibration of the camera, TOML."""

    def _begin(self, file: BinaryIO) -> tuple[str, cbor2.CBORDecoder]:
        decoder = cbor2.CBORDecoder(file)
        try:
            head = decoder.decode()
        except cbor2.CBORDecodeError as error:
            raise MessageError(f"{self.path}: not a recording: {error}") from error
        known = isinstance(head, Mapping) and head.get("recording") == FORMAT
        if not known or not isinstance(head.get("calibration"), str):
            raise MessageError(f"{self.path}: not a recording: its first item is not that of {FORMAT}")
        return head["calibration"], decoder

    def __iter__(self) -> Iterator[Pose]:
        with self.path.open("rb") as file:
            decoder = self._begin(file)[1]
            end = self.path.stat().st_size
            count = 0
            while (start := file.tell()) < end:
                try:
                    pose = of(decoder.decode())
                except (cbor2.CBORDecodeError, MessageError) as error:
                    # Where one message ends is known from itself alone, so none behind a damaged one can be found.
                    _log.warning("%s: message %d, at byte %d, cannot be read: %s", self.path, count, start, error)
                    return
                yield pose
                count += 1
