"""In the guest: a state is written again and again to a real file system until the power goes.

power.py WRITER SECONDS: WRITER is the binary of the program's tests. The disk is /dev/vda; what was written for good is
told in /out/wrote, which outlives the guest. Never returns: the machine is reset without a word to the disk.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from daemon import shell

DISK = Path("/mnt/disk")
STATE = DISK / "front.adapted"
WROTE = Path("/out/wrote")
FOUND = Path("/out/found")


def cut() -> None:
    """What a pulled plug does to the disk: caches are lost, what the disk has not got it never gets."""
    Path("/proc/sys/kernel/sysrq").write_text("1")
    Path("/proc/sysrq-trigger").write_text("b")
    time.sleep(60)


def main(writer: str, seconds: float) -> None:
    for module in ["virtio_blk", "ext4"]:
        shell(f"modprobe {module}")
    DISK.mkdir(parents=True)
    shell(f"mount /dev/vda {DISK}")
    words = [writer, "--exact", "adaptation::a_writer_for_the_test_of_power_cuts", "--nocapture"]
    environment = {**os.environ, "POISED_TEST_WRITES": str(STATE)}
    child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    assert child.stdout is not None
    said = []
    for line in child.stdout:
        said.append(line)
        word, _, steps = line.strip().rpartition(" ")
        # The test's own name may stand before it.
        if word.endswith("found"):
            FOUND.write_text(steps)
            threading.Timer(seconds, cut).start()
        elif word.endswith("wrote"):
            # A line is appended whole or not at all.
            with WROTE.open("a") as wrote:
                wrote.write(f"{steps}\n")
    print(f"the writer ended: {''.join(said[-20:])}", flush=True)
    sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
