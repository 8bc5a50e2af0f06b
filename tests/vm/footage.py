"""In the guest: the daemon on recorded footage, played through v4l2loopback as JPEGs and as raw frames.

footage.py PROGRAM FOLDER [stopped]: the folder holds film.mjpg, film.yuyv and cut.mjpg (every fifth image cut in two),
320x240. With `stopped` the daemon is stopped for a while instead.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from daemon import FIRST_POSE_S, Daemon, Failed, main, say, until

LOGS = Path("/out")
# SIGSTOP to SIGCONT.
STOPPED_S = 5
# More than a frame may be old (capture::order).
STALE_S = 3
# One person, as each box costs seconds of an emulated processor.
CONFIG = """
[camera]
name = "front"
[camera.v4l2]
card = "Footage"
width_px = 320
height_px = 240
rate_hz = 15
[zenoh]
site = "test"
device = "guest"

[people]
people_max = 1
"""


def feed(fourcc: str, file: Path) -> subprocess.Popen[bytes]:
    words = [os.environ["GUEST_FOLDER"] + "/feed", "/dev/video0", "320", "240", fourcc, "15", str(file)]
    return subprocess.Popen(words)


def is_a_camera() -> bool:
    """With exclusive_caps the node captures only once its feeder has given a frame."""
    told = subprocess.run(["v4l2-ctl", "--get-fmt-video"], capture_output=True, text=True, check=False)
    return "Size Image" in told.stdout


def stopped_daemon(daemon: Daemon, feeder: subprocess.Popen[bytes]) -> None:
    """The daemon is stopped while its camera streams: what waited in the driver is old when it goes on."""
    stale = daemon.health("figures", lambda m: True, time.monotonic())["drops"]["stale"]
    daemon.child.send_signal(signal.SIGSTOP)
    time.sleep(STOPPED_S)
    # Nothing is taken after this, so every picture that the daemon finds is older, and too old to be published.
    feeder.send_signal(signal.SIGSTOP)
    newest = time.monotonic()
    time.sleep(STALE_S)
    daemon.child.send_signal(signal.SIGCONT)
    go_on = time.monotonic()
    # Long enough to find them, and too short for the camera to be opened again, which gives the last picture once more.
    time.sleep(1)
    resumed = time.monotonic()
    feeder.send_signal(signal.SIGCONT)
    health = daemon.health("stale frames", lambda m: m["drops"]["stale"] > stale, go_on, 60)
    came, _ = daemon.pose(resumed, 60)
    between = [m["capture_ns"] * 1e-9 for at, leaf, m in daemon.subscriber.messages if leaf == "poses" and at >= go_on]
    made_up = [captured for captured in between if newest < captured < resumed]
    if made_up:
        raise Failed(f"poses of pictures that were never taken, {made_up}, none after {newest}")
    say(
        f"stopped for {STOPPED_S + STALE_S} s while the camera streams: {health['drops']['stale'] - stale} stale frames are "
        f"dropped and counted, no pose has a time at which nothing was taken; poses {came - resumed:.1f} s after pictures"
    )


def test(program: str, folder: Path, is_stopped: bool) -> None:
    feeder = feed("MJPG", folder / "film.mjpg")
    until("the footage plays", is_a_camera, 30)
    daemon = Daemon(program, CONFIG, LOGS / "footage.log")
    try:
        came, pose = daemon.pose(daemon.started, FIRST_POSE_S, people=True)
        joints = pose["persons"][0]["joints_m"]
        say(f"MJPG: a person {came - daemon.started:.1f} s after the start, {len(joints)} joints in metres")

        if is_stopped:
            stopped_daemon(daemon, feeder)
            return

        feeder.send_signal(signal.SIGSTOP)
        stopped = time.monotonic()
        silent, _ = daemon.event("no_frames", stopped)
        daemon.health("no frames", lambda m: m["fps"]["captured"] == 0.0, silent)
        feeder.send_signal(signal.SIGCONT)
        go_on = time.monotonic()
        came, _ = daemon.pose(go_on)
        say(f"a stall is said after {silent - stopped:.1f} s; poses {came - go_on:.1f} s after it ended")

        feeder.kill()
        gone = time.monotonic()
        daemon.event("camera_lost", gone)
        feeder = feed("YUYV", folder / "film.yuyv")
        changed = time.monotonic()
        back, which = daemon.event("camera_back", changed, 60)
        daemon.pose(back, 60, people=True)
        say(f"came back with another format, YUYV ({which}): a person again")

        feeder.kill()
        daemon.event("camera_lost", back)
        feeder = feed("MJPG", folder / "cut.mjpg")
        broken = time.monotonic()
        daemon.event("bad_frames", broken, 60)
        health = daemon.health("damaged frames", lambda m: m["drops"]["damaged"] >= 5, broken, 60)
        daemon.pose(time.monotonic(), 60)
        say(f"images cut in two are counted ({health['drops']['damaged']}) and said; poses go on between them")
        say(f"one process all the time, {daemon.resident_mb():.0f} MB; SIGTERM: gone after {daemon.stop():.2f} s")
        if daemon.child.returncode != 0:
            raise Failed(f"left with {daemon.child.returncode}")
    finally:
        feeder.kill()
        daemon.close()


if __name__ == "__main__":
    main(lambda: test(sys.argv[1], Path(sys.argv[2]), "stopped" in sys.argv[3:]), LOGS)
