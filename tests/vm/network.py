"""In the guest, under systemd: the packaged service on a network camera that is off at first, falls silent, hangs up."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path

from daemon import Failed, Subscriber, say, shell, until
from rtsp import PASSWORD, USER, NetworkCamera

UNIT = "poised.service"
PORT = 8554
# Each is seconds on a real machine; ffmpeg alone takes as long to start in an emulated one.
PATIENCE_S = 300
SILENCE_S = 10

ASK = """
import sys, zenoh
config = zenoh.Config()
config.insert_json5("mode", '"client"')
config.insert_json5("connect/endpoints", '["tcp/127.0.0.1:7447"]')
with zenoh.open(config) as session:
    for reply in session.get("poised/**/config", timeout=60.0):
        sys.stdout.buffer.write(reply.ok.payload.to_bytes())
"""


def config_published() -> str:
    """What `/config` answers; nothing where there is no Python with Zenoh."""
    python = os.environ.get("POISED_PYTHON", "python3")
    done = subprocess.run([python, "-c", ASK], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    if "No module named 'zenoh'" in done.stderr:
        print("skipped: /config of a network camera: no Python with eclipse-zenoh", flush=True)
        return ""
    if done.returncode != 0 or "source" not in done.stdout:
        raise Failed(f"/config: {done.stdout}{done.stderr}")
    return done.stdout


def status(name: str) -> str:
    return shell(f"systemctl show -P {name} {UNIT}")


def poses(subscriber: Subscriber, since: float) -> float:
    """Waits for a pose of a picture that came after `since`; how long that took, in seconds."""
    came, _ = subscriber.wait("a pose", "poses", lambda m: m["capture_ns"] >= since * 1e9, since, PATIENCE_S)
    return came - since


def network_camera(config: Path, film: Path) -> None:
    """One process through all of it, and the password in none of what it says."""
    camera = NetworkCamera(film, PORT)
    old = config.read_text()
    source = f'source = "rtsp://{USER}:{PASSWORD}@127.0.0.1:{PORT}/live"'
    without_device = re.sub(r"\[camera\.v4l2\][^\[]*", "", old)
    config.write_text(without_device.replace('name = "camera"', f'name = "camera"\n{source}'))
    shell(f"systemctl restart --no-block {UNIT}")
    until("it waits for the camera", lambda: f"127.0.0.1:{PORT}" in status("StatusText"), PATIENCE_S)
    said = status("StatusText")
    process, restarts = status("MainPID"), status("NRestarts")
    subscriber = Subscriber("/usr/bin/poised", ["poised/**"])
    try:
        time.sleep(5)
        switched_on = time.monotonic()
        camera.on()
        first = poses(subscriber, switched_on)

        camera.speaks.clear()
        silent = time.monotonic()
        _, lost = subscriber.wait("lost", "events", lambda m: m["event"] == "camera_lost", silent, PATIENCE_S)
        time.sleep(max(0.0, silent + SILENCE_S - time.monotonic()))
        speaks = time.monotonic()
        camera.speaks.set()
        second = poses(subscriber, speaks)

        hung_up = time.monotonic()
        camera.off()
        subscriber.wait("lost again", "events", lambda m: m["event"] == "camera_lost", hung_up, PATIENCE_S)
        back = time.monotonic()
        camera.on()
        third = poses(subscriber, back)

        published = config_published()
        journal = shell("journalctl -b --no-pager -o cat")
        events = repr([message for _, leaf, message in subscriber.messages if leaf in ("events", "health")])
        for where, text in [("journal", journal), ("/config", published), ("/events", events), ("status", said)]:
            if PASSWORD in text:
                raise Failed(f"the password is in {where}")
        if (status("MainPID"), status("NRestarts")) != (process, restarts):
            raise Failed(f"process {process} became {status('MainPID')}, restarts {status('NRestarts')}: {journal}")
    finally:
        subscriber.close()
        camera.speaks.set()
        camera.off()
        config.write_text(old)
        shell(f"systemctl restart {UNIT}")
    say(
        f"a network camera: off at first ({said}), poses {first:.0f} s after it was switched on; silent for "
        f"{SILENCE_S} s ({lost['detail']}), poses {second:.0f} s after; hung up, poses {third:.0f} s after it is back"
    )
    say(
        f"all that in one process, and the password is nowhere: {len(journal)} bytes of log, {len(published)} of /config"
    )
