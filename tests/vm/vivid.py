"""In the guest: the daemon on the kernel's virtual camera, which is unplugged, renumbered, stalled and broken.

vivid.py PROGRAM [UNPLUGS]: with UNPLUGS the long form, so many unplugs in a row instead of all else.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

from daemon import FIRST_POSE_S, Daemon, Failed, main, say, shell, until

LOGS = Path("/out")
DRIVER = Path("/sys/bus/platform/drivers/vivid")
# One person, as each box of the test image costs seconds of an emulated processor.
CONFIG = """
[camera]
name = "front"
[camera.v4l2]
{which}
width_px = 320
height_px = 180
rate_hz = 30
[zenoh]
site = "test"
device = "guest"

[people]
people_max = 1
"""


def plug() -> float:
    now = time.monotonic()
    (DRIVER / "bind").write_text("vivid.0")
    nodes_to_group()
    return now


def unplug() -> float:
    now = time.monotonic()
    (DRIVER / "unbind").write_text("vivid.0")
    return now


def nodes_to_group() -> None:
    """What udev does elsewhere."""
    shell("chgrp video /dev/video*; chmod 660 /dev/video*")


def control(name: str, value: int, node: str = "/dev/video0") -> float:
    now = time.monotonic()
    shell(f"v4l2-ctl -d {node} -c {name}={value}")
    return now


def once_unplugged(daemon: Daemon) -> tuple[float, float, float]:
    """Seconds from pulling to the event, from plugging in to frames, and to the first pose of a new frame."""
    pulled = unplug()
    noticed, _ = daemon.event("camera_lost", pulled)
    daemon.health("no frames", lambda m: m["camera_state"] == "lost" and m["fps"]["captured"] == 0.0, noticed)
    back = plug()
    frames, _ = daemon.event("camera_back", back)
    poses, _ = daemon.pose(back)
    daemon.check_running()
    return noticed - pulled, frames - back, poses - back


def many(program: str, unplugs: int) -> None:
    daemon = Daemon(program, CONFIG.format(which='device = "/dev/video0"'), LOGS / "many.log")
    try:
        daemon.pose(daemon.started)
        once_unplugged(daemon)
        first_mb, first_files = daemon.resident_mb(), daemon.open_files()
        times = [once_unplugged(daemon) for _ in range(unplugs)]
        last_mb, last_files = daemon.resident_mb(), daemon.open_files()
        words = ["noticed after", "frames again after", "poses again after"]
        for what, seconds in zip(words, zip(*times, strict=True), strict=True):
            print(f"   {what} {statistics.median(seconds):.2f} s, longest {max(seconds):.2f} s")
        say(f"{unplugs} unplugs in a row, one process")
        if last_mb > first_mb * 1.05 + 2 or last_files > first_files:
            raise Failed(f"{first_mb:.1f} to {last_mb:.1f} MB, {first_files} to {last_files} open files")
        say(f"memory {first_mb:.1f} MB after the first, {last_mb:.1f} MB after the last; {last_files} open files")
        say(f"SIGTERM: gone after {daemon.stop():.2f} s")
    finally:
        daemon.close()


def streams(daemon: Daemon) -> None:
    came, pose = daemon.pose(daemon.started, FIRST_POSE_S)
    say(f"first pose {came - daemon.started:.1f} s after the start")
    age = time.monotonic() - pose["capture_ns"] * 1e-9
    if not 0 <= age < 60 or pose["image_px"] != [320, 180]:
        raise Failed(f"the driver's time is {age:.1f} s from ours, image {pose['image_px']}")
    said = daemon.log.read_text()
    if "/dev/video0 (vivid): 320x180 at 30.0 Hz" not in said:
        raise Failed(f"the mode is not said: {said}")
    say("the mode is what was asked for, read back from the driver; its time travels to the message")


def unplugged(daemon: Daemon) -> None:
    notice, frames, poses = once_unplugged(daemon)
    say(
        f"unplugged while streaming: noticed after {notice:.2f} s; "
        f"frames {frames:.2f} s and poses {poses:.2f} s after replugging"
    )


def renumbered(daemon: Daemon) -> None:
    pulled = unplug()
    daemon.event("camera_lost", pulled)
    until("the driver is free", lambda: free_of_users(), 20)
    shell("rmmod vivid; modprobe vivid n_devs=1 node_types=0x1 num_inputs=1 input_types=0 vid_cap_nr=2")
    nodes_to_group()
    back = time.monotonic()
    came, _ = daemon.pose(back)
    _, detail = daemon.event("camera_back", pulled)
    if "/dev/video2" not in detail:
        raise Failed(f"camera_back says {detail}")
    say(f"came back as another number ({detail}): poses after {came - back:.2f} s")


def free_of_users() -> bool:
    return Path("/sys/module/vivid/refcnt").read_text().strip() == "0"


def damaged(daemon: Daemon, node: str) -> None:
    before = daemon.health("figures", lambda m: True, time.monotonic())["drops"]["damaged"]
    asked = control("inject_v4l2_buf_flag_error", 1, node)
    daemon.event("bad_frames", asked)
    health = daemon.health("damaged frames", lambda m: m["drops"]["damaged"] > before, asked)
    daemon.pose(time.monotonic())
    say(f"a buffer marked as damaged is counted ({health['drops']['damaged']}) and said; poses go on")


def broken_stream(daemon: Daemon, node: str) -> None:
    asked = control("inject_fatal_streaming_error", 1, node)
    lost, detail = daemon.event("camera_lost", asked)
    back, _ = daemon.event("camera_back", lost)
    daemon.pose(back)
    say(f"a stream that breaks ({detail}) is lost after {lost - asked:.2f} s, back after {back - lost:.2f} s more")


def fails_to_start(daemon: Daemon, node: str) -> None:
    for name in ["inject_vidioc_reqbufs_error", "inject_vidioc_qbuf_error", "inject_vidioc_streamon_error"]:
        # The request fails once, at the first try to open the camera again (QBUF: at once, while it streams).
        control(name, 1, node)
        asked = control("inject_fatal_streaming_error", 1, node)
        back, _ = daemon.event("camera_back", asked, 60)
        daemon.pose(back)
    daemon.check_running()
    say("a driver that fails while the camera is opened again is tried until it works")


def stalled(daemon: Daemon, node: str) -> None:
    asked = control("percentage_of_dropped_buffers", 100, node)
    silent, detail = daemon.event("no_frames", asked)
    daemon.health("no frames", lambda m: m["fps"]["captured"] == 0.0 and m["camera_state"] != "running", silent)
    lost, _ = daemon.event("camera_lost", silent)
    ended = control("percentage_of_dropped_buffers", 0, node)
    came, _ = daemon.pose(ended)
    say(
        f"a camera that stalls: said after {silent - asked:.1f} s ({detail}), opened again after {lost - asked:.1f} s, "
        f"poses {came - ended:.2f} s after it gives frames"
    )


def odd_numbers(daemon: Daemon, node: str) -> None:
    control("wrap_sequence_number", 1, node)
    control("wrap_timestamp", 1, node)
    time.sleep(3)
    now = time.monotonic()
    _, pose = daemon.pose(now)
    age = time.monotonic() - pose["capture_ns"] * 1e-9
    if not -1 < age < 60:
        raise Failed(f"a pose {age} s old")
    health = daemon.health("figures", lambda m: True, now)
    say(f"numbers and times that wrap: poses go on, {health['drops']['lost_by_camera']} frames counted as lost so far")


def disconnected(daemon: Daemon, node: str) -> None:
    asked = control("disconnect", 1, node)
    lost, detail = daemon.event("camera_lost", asked)
    time.sleep(3)
    unplug()
    back = plug()
    daemon.pose(back)
    say(f"a node that stays but answers nothing ({detail}): lost after {lost - asked:.2f} s, back after replugging")


def missing_at_start(program: str) -> None:
    unplug()
    daemon = Daemon(program, CONFIG.format(which='card = "vivid"'), LOGS / "missing.log")
    try:
        # The event came before there was a subscriber; health says it every second.
        daemon.health("no camera", lambda m: m["camera_state"] == "lost", daemon.started, 120)
        said = daemon.log.read_text()
        if 'card "vivid": no such camera' not in said:
            raise Failed(f"the log does not say what is missing: {said}")
        back = plug()
        came, _ = daemon.pose(back)
        say(f"not there at the start, on the air all the same; poses {came - back:.2f} s after plugging in")
        _, which = daemon.event("camera_back", back)
        took = daemon.stop()
        say(f"named by card: {which}; SIGTERM: gone after {took:.2f} s")
        # A frame takes seconds in an emulated machine, and the one under way is finished.
        if took > 20:
            raise Failed(f"{took:.2f} s from SIGTERM to the end")
    finally:
        daemon.close()


def short(program: str) -> None:
    daemon = Daemon(program, CONFIG.format(which='device = "/dev/video0"'), LOGS / "vivid.log")
    try:
        streams(daemon)
        process = daemon.child.pid
        unplugged(daemon)
        begin_mb = daemon.resident_mb()
        renumbered(daemon)
        node = "/dev/video2"
        damaged(daemon, node)
        broken_stream(daemon, node)
        fails_to_start(daemon, node)
        stalled(daemon, node)
        odd_numbers(daemon, node)
        disconnected(daemon, node)
        end_mb = daemon.resident_mb()
        if daemon.child.pid != process or end_mb > begin_mb * 1.1 + 2:
            raise Failed(f"memory from {begin_mb:.1f} to {end_mb:.1f} MB")
        say(f"one process all the time; memory {begin_mb:.1f} MB after the first unplug, {end_mb:.1f} MB at the end")
        daemon.stop()
    finally:
        daemon.close()
    missing_at_start(program)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        main(lambda: many(sys.argv[1], int(sys.argv[2])), LOGS)
    else:
        main(lambda: short(sys.argv[1]), LOGS)
