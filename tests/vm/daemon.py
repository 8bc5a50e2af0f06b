"""The daemon and a subscriber in the guest, and words for what they did. Standard library only."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FIRST_POSE_S = 240
"""The emulated processor translates each network as it first runs: a minute and a half on two idle cores."""

Message = dict[str, Any]
Found = Callable[[Message], bool]


class Failed(AssertionError):
    """What was expected did not come."""


class Subscriber:
    """`poised watch --json`: all messages with the time at which they came."""

    def __init__(self, program: str, arguments: list[str]) -> None:
        self.messages: list[tuple[float, str, Message]] = []
        self.changed = threading.Condition()
        words = [program, "watch", "--json", *arguments]
        self.child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.child.stdout is not None
        for line in self.child.stdout:
            received = json.loads(line)
            leaf = received["key"].rsplit("/", 1)[-1]
            with self.changed:
                self.messages.append((time.monotonic(), leaf, received.get("message", {})))
                self.changed.notify_all()

    def wait(self, what: str, leaf: str, found: Found, since: float, seconds: float) -> tuple[float, Message]:
        """The first message after `since` that is looked for; fails after `seconds`."""
        end = time.monotonic() + seconds
        at = 0
        with self.changed:
            while True:
                for came, of, message in self.messages[at:]:
                    if came >= since and of == leaf and found(message):
                        return came, message
                at = len(self.messages)
                left = end - time.monotonic()
                if left <= 0 or self.child.poll() is not None:
                    raise Failed(f"{what}: did not come within {seconds:.0f} s")
                self.changed.wait(min(left, 1.0))

    def count(self, leaf: str, since: float) -> int:
        with self.changed:
            return sum(1 for came, of, _ in self.messages if of == leaf and came >= since)

    def close(self) -> None:
        self.child.kill()
        self.child.wait()


class Daemon:
    """`poised run` with a subscriber."""

    def __init__(self, program: str, config: str, log: Path) -> None:
        path = log.with_suffix(".toml")
        path.write_text(config)
        self.log = log
        self.started = time.monotonic()
        self.child = subprocess.Popen([program, "run", "-c", str(path)], stderr=log.open("wb"))
        self.subscriber = Subscriber(program, ["poised/**"])

    def pose(self, since: float, seconds: float = 60, people: bool = False) -> tuple[float, Message]:
        """The first pose whose frame was taken after `since`."""

        def taken_after(message: Message) -> bool:
            return message["capture_ns"] >= since * 1e9 and (not people or message["persons"] != [])

        return self.subscriber.wait("a pose", "poses", taken_after, since, seconds)

    def event(self, name: str, since: float, seconds: float = 30) -> tuple[float, str]:
        came, message = self.subscriber.wait(
            f"the event {name}", "events", lambda m: m["event"] == name, since, seconds
        )
        return came, message["detail"] or ""

    def health(self, what: str, found: Found, since: float, seconds: float = 30) -> Message:
        return self.subscriber.wait(f"health with {what}", "health", found, since, seconds)[1]

    def resident_mb(self) -> float:
        pages = int(Path(f"/proc/{self.child.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGESIZE") / 1e6

    def open_files(self) -> int:
        return len(os.listdir(f"/proc/{self.child.pid}/fd"))

    def check_running(self) -> None:
        if self.child.poll() is not None:
            raise Failed(f"the daemon left with {self.child.returncode}: {self.last_words()}")

    def last_words(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]

    def stop(self) -> float:
        """Asks it to leave; how long that took, in seconds."""
        asked = time.monotonic()
        self.child.send_signal(signal.SIGTERM)
        code = self.child.wait(30)
        took = time.monotonic() - asked
        self.subscriber.close()
        if code != 0:
            raise Failed(f"after SIGTERM it left with {code}: {self.last_words()}")
        return took

    def close(self) -> None:
        self.subscriber.close()
        self.child.kill()
        self.child.wait()


def shell(words: str) -> str:
    """Runs a line of shell and returns what it says; fails where it does."""
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"{words}: {done.stderr.strip()}")
    return done.stdout.strip()


def until(what: str, true: Callable[[], bool], seconds: float) -> float:
    """Waits until something holds; how long it took."""
    began = time.monotonic()
    while not true():
        if time.monotonic() - began > seconds:
            raise Failed(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.2)
    return time.monotonic() - began


passed = 0


def say(line: str) -> None:
    global passed
    passed += 1
    print(f"ok {passed} - {line}", flush=True)


def main(tests: Callable[[], None], logs: Path) -> None:
    """Runs the tests and ends with the line that counts them."""
    failed = 0
    try:
        tests()
    except (Failed, OSError, KeyError, subprocess.SubprocessError) as error:
        failed = 1
        print(f"not ok - {type(error).__name__}: {error}", flush=True)
        for log in sorted(logs.glob("*.log")):
            print(f"--- {log.name}\n{log.read_text(errors='replace')[-3000:]}", flush=True)
    print(f"{passed} passed, {failed} failed", flush=True)
    sys.exit(failed)
