"""In the guest, under systemd: the package from installing to purging, and the service in between.

service.py OLD.deb NEW.deb [FILM]: FILM is an H.264 byte stream for the network camera, which is left out without it.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from pathlib import Path

from daemon import FIRST_POSE_S, Failed, Subscriber, main, say, shell, until
from network import network_camera

LOGS = Path("/out")
UNIT = "poised.service"
CONFIG = Path("/etc/poised/poised.toml")
# Without the triggers of other packages: the index of all manual pages takes minutes in an emulated machine.
DPKG = ["dpkg", "--force-confold", "--force-unsafe-io", "--no-triggers"]
PTRACE_ATTACH = 16
# Until the first frame is through all stages: the networks take half a minute in an emulated machine, several times that
# where its host is busy.
READY_S = 600
# For everything else that takes a moment on a real machine.
PATIENCE_S = 300
WATCHDOG_S = 120


def show(unit: str, name: str) -> str:
    return shell(f"systemctl show -P {name} {unit}")


def journal() -> str:
    """All of it: what systemd itself says comes through the kernel's log here, without the unit's name."""
    return shell("journalctl -b --no-pager -o cat")


def start(unit: str = UNIT) -> float:
    began = time.monotonic()
    done = subprocess.run(["systemctl", "start", unit], capture_output=True, text=True, timeout=READY_S, check=False)
    if done.returncode != 0:
        raise Failed(f"{unit} does not start: {done.stderr}\n{journal()}")
    return time.monotonic() - began


def install(package: str) -> None:
    done = subprocess.run(
        [*DPKG, "-i", package],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if done.returncode != 0:
        raise Failed(f"dpkg -i {package}: {done.stdout}{done.stderr}")


def installed(package: str) -> None:
    # Not among the files of the machine that lends its own to the guest.
    shell("rm -f /usr/bin/poised; rm -rf /etc/poised /usr/share/poised")
    install(package)
    shell("id -nG poised | tr ' ' '\\n' | grep -qx video")
    verified = subprocess.run(
        [
            "systemd-analyze",
            "verify",
            "/usr/lib/systemd/system/poised.service",
            "/usr/lib/systemd/system/poised@.service",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if verified.returncode != 0 or "poised" in verified.stdout + verified.stderr:
        raise Failed(f"systemd-analyze verify: {verified.stdout}{verified.stderr}")
    score = shell("systemd-analyze security --no-pager poised.service | tail -n 1")
    number = float(score.split(":")[1].split()[0])
    if number > 2.0:
        raise Failed(score)
    shell("zcat /usr/share/man/man1/poised-run.1.gz | grep -q config")
    say(f"installed: user in group video, units verified without a word, manual; exposure {number}")


def threads_of(process: int) -> dict[str, int]:
    """Numbers of a process's threads, by name."""
    numbers = os.listdir(f"/proc/{process}/task")
    return {Path(f"/proc/{process}/task/{n}/comm").read_text().strip(): int(n) for n in numbers}


def ready() -> None:
    # An emulated machine is many times slower than the slowest real one.
    drop_in = Path("/etc/systemd/system/poised.service.d/slow.conf")
    drop_in.parent.mkdir(parents=True)
    drop_in.write_text(f"[Service]\nWatchdogSec={WATCHDOG_S}\nTimeoutStartSec={READY_S}\nTimeoutStopSec={PATIENCE_S}\n")
    shell("systemctl daemon-reload")
    text = CONFIG.read_text()
    for large, small in [("width_px = 640", "width_px = 320"), ("height_px = 480", "height_px = 180"), ("= 30", "= 2")]:
        text = text.replace(large, small)
    # Each box that the person detector sees in the test image costs seconds here.
    CONFIG.write_text(text + "\n[people]\npeople_max = 1\n")
    took = start()
    said = journal()
    user = shell(f"ps -o user= -p {show(UNIT, 'MainPID')}")
    if show(UNIT, "ActiveState") != "active" or user != "poised":
        raise Failed(f"{show(UNIT, 'ActiveState')} as {user}: {said}")
    subscriber = Subscriber("/usr/bin/poised", ["poised/**"])
    came, _ = subscriber.wait("a pose", "poses", lambda m: True, 0, FIRST_POSE_S)
    subscriber.close()
    nice = {name: os.getpriority(os.PRIO_PROCESS, n) for name, n in threads_of(int(show(UNIT, "MainPID"))).items()}
    if nice["adapt"] != 19 or nice["estimate"] == 19:
        raise Failed(f"learning does not stand back: {nice}")
    say(f"ready {took:.1f} s after `systemctl start`, as {user}, with all its walls; poses come over Zenoh")


def priorities() -> None:
    informed = shell(f"journalctl -b --no-pager -o cat -p 6..6 _SYSTEMD_UNIT={UNIT}")
    if "listening on" not in informed or "<6>" in informed:
        raise Failed(f"priority 6 holds: {informed}")
    say("lines of the log have their priorities")


def reloaded() -> None:
    before = show(UNIT, "MainPID")
    old = CONFIG.read_text()
    changed = old.replace('site = "site"', 'site = "hall"')
    CONFIG.write_text(changed.replace("[publish]\n", "[publish]\nlate_after_ms = 999\n"))
    shell(f"systemctl reload {UNIT}")
    until("the new value is taken over", lambda: "late_after_ms: 999" in journal(), PATIENCE_S)
    if "[zenoh] changed" not in journal():
        raise Failed(f"what needs a restart is not named: {journal()}")
    CONFIG.write_text("[publish]\nlate_after_ms = 0\n")
    shell(f"systemctl reload {UNIT}")
    until(
        "a wrong file is refused", lambda: "publish.late_after_ms = 0: must be from 1 to 60000" in journal(), PATIENCE_S
    )
    if show(UNIT, "MainPID") != before or show(UNIT, "ActiveState") != "active":
        raise Failed("the daemon did not outlive a wrong configuration")
    CONFIG.write_text(old)
    say("SIGHUP takes over what may change, names what needs a restart, refuses a wrong file and goes on")


def hung() -> None:
    """One thread of the real program is held by a debugger's request: the others run on, as when a driver hangs."""
    process = int(show(UNIT, "MainPID"))
    restarts = int(show(UNIT, "NRestarts"))
    threads = threads_of(process)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(PTRACE_ATTACH, threads["estimate"], None, None) != 0:
        raise Failed(f"ptrace: {os.strerror(ctypes.get_errno())}")
    began = time.monotonic()
    until("the watchdog ends it", lambda: "Watchdog timeout" in journal(), WATCHDOG_S + READY_S)
    killed = time.monotonic() - began
    # As its tracer, take the news that the thread is gone; else it stays as our zombie.
    until("it is started again", lambda: reap() and int(show(UNIT, "NRestarts")) > restarts, PATIENCE_S)
    until("ready again", lambda: show(UNIT, "ActiveState") == "active", READY_S)
    if "the estimate thread has not made progress" not in journal():
        raise Failed(f"the log does not name the thread: {journal()}")
    say(f"a hung thread is named, the watchdog ends the daemon after {killed:.0f} s, and it is ready again")


def reap() -> bool:
    try:
        while os.waitpid(-1, os.WNOHANG | 0x40000000)[0]:
            pass
    except ChildProcessError:
        pass
    return True


def two_cameras() -> None:
    """A second instance without its camera waits, and the first one does not mind."""
    Path("/etc/poised/side.toml").write_text(
        CONFIG.read_text().replace('"/dev/video0"', '"/dev/video9"').replace('name = "camera"', 'name = "side"')
    )
    shell("systemctl start --no-block poised@side.service")
    until("it says what it waits for", lambda: "/dev/video9" in show("poised@side.service", "StatusText"), PATIENCE_S)
    if show(UNIT, "ActiveState") != "active" or show("poised@side.service", "ActiveState") != "activating":
        raise Failed("one camera that is away stopped the other")
    shell("systemctl stop poised@side.service")
    say("poised@side waits for its camera while poised goes on")


def stopped() -> None:
    began = time.monotonic()
    shell(f"systemctl stop {UNIT}")
    took = time.monotonic() - began
    result, code = show(UNIT, "Result"), show(UNIT, "ExecMainStatus")
    if result != "success" or code != "0":
        raise Failed(f"stopped with {result}, {code}: {journal()}")
    say(f"clean stop after {took:.1f} s")


def upgraded(package: str) -> None:
    start()
    before = show(UNIT, "MainPID")
    CONFIG.write_text(CONFIG.read_text() + "# a line of mine\n")
    install(package)
    until("the new version runs", lambda: show(UNIT, "MainPID") not in (before, "0"), PATIENCE_S)
    until("ready after the upgrade", lambda: show(UNIT, "ActiveState") == "active", READY_S)
    if "# a line of mine" not in CONFIG.read_text():
        raise Failed("the upgrade took my configuration away")
    say("an upgrade restarts what runs and leaves the configuration as it was")


def removed_and_purged() -> None:
    shell("systemctl enable poised.service")
    shell(" ".join([*DPKG, "-r poised"]))
    if not CONFIG.exists() or Path("/usr/bin/poised").exists() or show(UNIT, "ActiveState") == "active":
        raise Failed("remove keeps the configuration and nothing else")
    shell(" ".join([*DPKG, "-P poised"]))
    left = [
        path
        for path in [
            "/etc/poised",
            "/var/lib/poised",
            "/usr/share/poised",
            "/usr/share/doc/poised",
            "/usr/lib/systemd/system/poised.service",
            "/usr/lib/sysusers.d/poised.conf",
            "/usr/lib/udev/rules.d/60-poised.rules",
            "/etc/systemd/system/multi-user.target.wants/poised.service",
            "/etc/systemd/system/poised.service.d",
        ]
        if os.path.lexists(path)
    ]
    known = subprocess.run(["getent", "passwd", "poised"], capture_output=True, check=False).returncode
    listed = subprocess.run(["dpkg", "-s", "poised"], capture_output=True, check=False).returncode
    if left or known == 0 or listed == 0:
        raise Failed(f"purge leaves {left}, user {known == 0}, package {listed == 0}")
    say("remove keeps the configuration; purge leaves nothing, the user included")


def test(old: str, new: str, film: str) -> None:
    installed(old)
    ready()
    priorities()
    reloaded()
    hung()
    two_cameras()
    if film:
        network_camera(CONFIG, Path(film))
    stopped()
    upgraded(new)
    removed_and_purged()


if __name__ == "__main__":
    main(lambda: test(sys.argv[1], sys.argv[2], "".join(sys.argv[3:])), LOGS)
