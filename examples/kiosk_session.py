#!/usr/bin/env python3
"""Run one exercise session of a poised daemon and write its page: what a kiosk does around an exercise.

Install with `pip install -r examples/requirements.txt`. The daemon needs `[session] enabled = true`. For example:
`kiosk_session.py --exercise squat --seconds 30 --label "station 2" --page squats.html`. Ctrl-C stops the session
early; the page is written all the same.
"""

import argparse
import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import cbor2
import zenoh

# Seconds to wait for an answer. Starting and stopping take a fraction of one.
ANSWER_S = 10.0


class Refused(Exception):
    """The daemon did not do what it was asked, and said why."""


class Kiosk:
    """Talks to one camera's daemon about sessions."""

    def __init__(self, session: zenoh.Session, camera: str) -> None:
        """`camera` is the key without what follows it: poised/<site>/<device>/<camera>."""
        self._session = session
        self._key = f"{camera}/session"

    def start(self, exercise: str, label: str, person: int | None) -> dict[str, Any]:
        """Begin a session. Everybody in view is looked at, unless `person` is an id of the poses."""
        return self._ask({"command": "start", "exercise": exercise, "label": label, "person": person})

    def stop(self) -> dict[str, Any]:
        """End the session that runs."""
        return self._ask({"command": "stop"})

    def status(self) -> dict[str, Any]:
        """Tell of the session that runs, or of the last one."""
        return self._ask({"command": "status"})

    def summary(self) -> dict[str, Any]:
        """The figures of the last session."""
        return json.loads(self._get(f"{self._key}/summary"))

    def page(self) -> bytes:
        """The last session as one HTML file to print."""
        return self._get(f"{self._key}/page")

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        answer = cbor2.loads(self._get(self._key, cbor2.dumps(request)))
        if not answer["done"]:
            raise Refused(answer["detail"])
        if answer["detail"]:
            print(answer["detail"], file=sys.stderr)
        session: dict[str, Any] | None = answer["session"]
        if session is None:
            # Done, but there is none: only the status of a daemon that has not had one.
            raise Refused("the daemon knows of no session: it has started again, and what it counted before is lost")
        return session

    def _get(self, key: str, payload: bytes | None = None) -> bytes:
        for reply in self._session.get(key, payload=payload, timeout=ANSWER_S):
            if reply.ok is not None:
                return reply.ok.payload.to_bytes()
            if reply.err is not None:
                raise Refused(reply.err.payload.to_bytes().decode())
        raise Refused(f"no answer on {key}: is the daemon running, with [session] enabled = true?")


def wait(kiosk: Kiosk, seconds: float) -> None:
    """Show the count once a second, until the time is over, Ctrl-C, or the daemon has ended the session itself."""
    end = time.monotonic() + seconds
    try:
        while (left := end - time.monotonic()) > 0:
            now = kiosk.status()
            print(f"{now['duration_s']:5.0f} s  {now['whole']} repetitions, {now['partials']} partial", flush=True)
            if not now["running"]:
                break
            time.sleep(min(1.0, left))
    except KeyboardInterrupt:
        print("stopped early")


def exercise(kiosk: Kiosk, args: argparse.Namespace) -> None:
    """Run one session from start to stop. Whatever happens in between, it does not go on running."""
    kiosk.start(args.exercise, args.label, args.person)
    try:
        wait(kiosk, args.seconds)
    finally:
        # One that has ended by itself cannot be stopped; its summary is there all the same.
        with contextlib.suppress(Refused):
            kiosk.stop()


def main() -> None:
    """Start, wait, stop, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    add = parser.add_argument
    add("--connect", default="tcp/127.0.0.1:7447", help="endpoint of the daemon or a router")
    add("--camera", required=True, help="poised/<site>/<device>/<camera>, without wildcards")
    add("--exercise", default="squat", help="one of the daemon's exercises")
    add("--label", default="", help="at most 64 bytes, printed on the page; no name of a person is needed")
    add("--person", type=int, help="id of a person in the poses; left out: everybody in view")
    add("--seconds", type=float, default=30.0, help="how long the exercise takes")
    add("--page", type=Path, default=Path("session.html"), help="where the page goes; a file there is replaced")
    args = parser.parse_args()

    config = zenoh.Config()
    config.insert_json5("connect/endpoints", json.dumps([args.connect]))
    config.insert_json5("listen/endpoints", "[]")
    config.insert_json5("scouting/multicast/enabled", "false")
    with zenoh.open(config) as session:
        kiosk = Kiosk(session, args.camera)
        try:
            exercise(kiosk, args)
            args.page.write_bytes(kiosk.page())
            summary = kiosk.summary()
        except Refused as refusal:
            sys.exit(f"refused: {refusal}")
    for person in summary["people"]:
        print(f"person {person['person']}: {person['whole']} repetitions, {person['partial']} partial")
    print(f"{summary['ended']} after {summary['duration_s']:.0f} s; page in {args.page}")


if __name__ == "__main__":
    main()
