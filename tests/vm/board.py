"""In the aarch64 guest: the daemon that was built for the board, on its V4L2 camera.

board.py PROGRAM
"""

from __future__ import annotations

import sys
import time

from daemon import Daemon, main, say
from vivid import CONFIG, LOGS, once_unplugged


def test(program: str) -> None:
    daemon = Daemon(program, CONFIG.format(which='card = "vivid"'), LOGS / "board.log")
    try:
        came, pose = daemon.pose(daemon.started, 300)
        say(f"first pose {came - daemon.started:.1f} s after the start, image {pose['image_px']}")
        notice, frames, poses = once_unplugged(daemon)
        say(f"unplugged: noticed after {notice:.2f} s, frames {frames:.2f} s and poses {poses:.2f} s after replugging")
        since = time.monotonic()
        time.sleep(20)
        say(f"{daemon.subscriber.count('poses', since)} poses in 20 s, {daemon.resident_mb():.0f} MB")
        say(f"SIGTERM: gone after {daemon.stop():.2f} s")
    finally:
        daemon.close()


if __name__ == "__main__":
    main(lambda: test(sys.argv[1]), LOGS)
