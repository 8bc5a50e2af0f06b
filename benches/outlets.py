"""What each outlet costs the daemon: processor time of its threads, memory, and latency, with 1 and 8 readers.

    pip install -r benches/requirements-outlets.txt      # and mosquitto, for `mqtt`
    cargo build --bin poised
    python benches/outlets.py --people 1 2 4 8           # about 20 minutes
    python benches/outlets.py --latency                  # all outlets with 8 readers each against none, in turns

Each line is a daemon of its own before the synthetic camera. Outlets run on threads of their own, so their cost is the
processor time of all threads but those that capture, estimate and learn, less the same without any outlet or reader;
it is given for each pose message, since a machine that is busy publishes fewer. Readers take bytes and drop them, in a
process of their own. `--latency` compares the 99th percentile from capture to published of whole rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import cbor2
import zenoh

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "target" / "debug" / "poised"
OUTLETS = ("zenoh", "web", "foxglove", "ros", "mqtt", "record")
READ = ("zenoh", "web", "foxglove", "ros", "mqtt")
"""Outlets with readers; `record` writes a file."""
PIPELINE = {"poised", "capture", "estimate", "adapt", "build"}
"""Threads that would do the same without outlets; `poised` is the first thread, which waits."""
START_S = 60
"""Until the networks are loaded and a person is seen, on a busy machine."""
TICKS = os.sysconf("SC_CLK_TCK")
KEY = "poised/site/bench/front"
CALIBRATION = """camera = "synthetic"
[image]
width_px = {width}
height_px = {height}
[intrinsics]
fx_px = {focal}
fy_px = {focal}
cx_px = {cx}
cy_px = {cy}
[distortion]
model = "none"
[mount]
height_m = 1.5
down_deg = 5.0
"""


class BenchFault(Exception):
    """The measurement cannot be made, with the reason."""


@dataclass(frozen=True)
class Case:
    """Outlets that are on, readers of each of them, and people in the room."""

    outlets: tuple[str, ...]
    readers: int
    people: int

    @property
    def name(self) -> str:
        """As a line of the table begins."""
        return {(): "none", OUTLETS: "all"}.get(self.outlets, "+".join(self.outlets))


@dataclass(frozen=True)
class Measured:
    """Figures of a case."""

    messages: int
    seconds: float
    outlets_ms: float
    """Processor time of the threads of outlets, milliseconds a pose message."""
    pipeline_ms: float
    rss_mb: float
    p50_ms: float
    p99_ms: float
    people: float


def free_port() -> int:
    """A port of the loopback interface that was free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def session(mode: str, endpoints: str, port: int) -> zenoh.Session:
    """A Zenoh session that knows one address."""
    config = zenoh.Config()
    config.insert_json5("mode", f'"{mode}"')
    config.insert_json5("listen/endpoints", "[]")
    config.insert_json5(f"{endpoints}/endpoints", f'["tcp/127.0.0.1:{port}"]')
    config.insert_json5("scouting/multicast/enabled", "false")
    return zenoh.open(config)


# --- readers, each kind in a process of its own --------------------------------


def read_zenoh(port: int, readers: int, keys: str) -> None:
    """Subscribes to everything under `keys` with sessions of their own."""
    sessions = [session("client", "connect", port) for _ in range(readers)]
    for own in sessions:
        own.declare_subscriber(keys, lambda _: None)
    threading.Event().wait()


def read_web(port: int, readers: int) -> None:
    """Reads the stream of events of the web view."""

    def one() -> None:
        with urlopen(f"http://127.0.0.1:{port}/live") as stream:
            while stream.read1(1 << 16):
                pass

    for _ in range(readers):
        threading.Thread(target=one, daemon=True).start()
    threading.Event().wait()


def read_foxglove(port: int, readers: int) -> None:
    """Subscribes to every channel of the Foxglove server."""
    import websockets

    async def one() -> None:
        protocols = [websockets.Subprotocol("foxglove.sdk.v1")]
        async with websockets.connect(f"ws://127.0.0.1:{port}", subprotocols=protocols, max_size=None) as stream:
            async for message in stream:
                if isinstance(message, bytes) or '"advertise"' not in message:
                    continue
                wanted = [{"id": c["id"], "channelId": c["id"]} for c in json.loads(message)["channels"]]
                await stream.send(json.dumps({"op": "subscribe", "subscriptions": wanted}))

    async def everyone() -> None:
        await asyncio.gather(*(one() for _ in range(readers)))

    asyncio.run(everyone())


def route(port: int) -> None:
    """A router, as `rmw_zenohd` is one."""
    own = session("router", "listen", port)
    threading.Event().wait()
    own.close()


READERS = {
    "zenoh": lambda port, readers: read_zenoh(port, readers, f"{KEY}/**"),
    "web": read_web,
    "foxglove": read_foxglove,
    "ros": lambda port, readers: read_zenoh(port, readers, "**"),
    "router": lambda port, _: route(port),
}


# --- the daemon -----------------------------------------------------------------


def configuration(case: Case, folder: Path, ports: dict[str, int], size: tuple[int, int], rate_hz: int) -> str:
    """The daemon's configuration."""
    width, height = size
    focal = 0.5 * width / 0.57735  # 60 degrees across
    centre = {"cx": width / 2 - 0.5, "cy": height / 2 - 0.5}
    (folder / "calibration.toml").write_text(
        CALIBRATION.format(width=width, height=height, focal=focal, **centre), encoding="utf-8"
    )
    scenario = "default" if case.people == 1 else "crowd"
    sections = {
        "zenoh": "",
        "web": f'[web]\nlisten = "127.0.0.1:{ports["web"]}"\n',
        "foxglove": f'[foxglove]\nlisten = "127.0.0.1:{ports["foxglove"]}"\n',
        "ros": f'[ros]\nconnect = "tcp/127.0.0.1:{ports["ros"]}"\nhumans = true\n',
        "mqtt": f'[mqtt]\nbroker = "mqtt://127.0.0.1:{ports["mqtt"]}"\n',
        "record": f'[record]\nfolder = "{folder}/recordings"\nfree_mb = 1\n',
    }
    return (
        f'[camera]\nname = "front"\n[camera.synthetic]\nscenario = "{scenario}"\npeople = {case.people}\n'
        f"width_px = {width}\nheight_px = {height}\nrate_hz = {rate_hz}\n"
        f'[calibration]\nfile = "{folder}/calibration.toml"\n'
        f'[zenoh]\ndevice = "bench"\nlisten = ["tcp/127.0.0.1:{ports["zenoh"]}"]\nmulticast = false\n'
        + "".join(sections[outlet] for outlet in case.outlets)
    )


@contextmanager
def child(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with the block."""
    environment = os.environ | {"RUST_LOG": "error"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=ROOT, env=environment)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def spent(pid: int) -> dict[str, int]:
    """Processor ticks of the threads of a process, by whether they are of the pipeline or of outlets."""
    ticks = {"pipeline": 0, "outlets": 0}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            name, rest = task.joinpath("stat").read_text().split("(", 1)[1].rsplit(")", 1)
        except OSError:
            continue  # it has just ended
        fields = rest.split()
        of = "pipeline" if name in PIPELINE or name.startswith("main") else "outlets"
        ticks[of] += int(fields[11]) + int(fields[12])
    return ticks


def resident_mb(pid: int) -> float:
    """Resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


class Health:
    """The newest health messages of the daemon, and whether it sees a person."""

    def __init__(self) -> None:
        self.messages: list[dict[str, object]] = []

    def add(self, sample: zenoh.Sample) -> None:
        """Takes a message."""
        self.messages.append(cbor2.loads(sample.payload.to_bytes()))

    def published(self) -> int:
        """Pose messages so far."""
        return int(self.messages[-1]["frames"]["published"])  # type: ignore[index]

    def ready(self) -> bool:
        """Whether a person is seen."""
        return bool(self.messages) and int(self.messages[-1]["people"]) > 0  # type: ignore[call-overload]


def wait(what: str, done: object) -> None:
    """Waits until `done()`."""
    assert callable(done)
    end = time.monotonic() + START_S
    while not done():
        if time.monotonic() > end:
            raise BenchFault(f"not within {START_S} s: {what}")
        time.sleep(0.05)


def listening(port: int) -> bool:
    """Whether something listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def measure(case: Case, seconds: float, size: tuple[int, int], rate_hz: int, program: Path) -> Measured:
    """Runs a daemon with its readers and measures it."""
    ports = {name: free_port() for name in (*READ, "router")}
    me = [sys.executable, str(Path(__file__).resolve()), "--read"]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if "ros" in case.outlets:
            stack.enter_context(child([*me, "router", str(ports["ros"]), "1"]))
            wait("the router", lambda: listening(ports["ros"]))
        if "mqtt" in case.outlets:
            broker = f"user root\npersistence false\nlistener {ports['mqtt']} 127.0.0.1\nallow_anonymous true\n"
            (folder / "mosquitto.conf").write_text(broker, encoding="utf-8")
            stack.enter_context(child(["mosquitto", "-c", str(folder / "mosquitto.conf")]))
        (folder / "poised.toml").write_text(configuration(case, folder, ports, size, rate_hz), encoding="utf-8")
        daemon = stack.enter_context(child([str(program), "run", "-c", str(folder / "poised.toml")]))
        wait("the daemon listens", lambda: daemon.poll() is not None or listening(ports["zenoh"]))
        if daemon.poll() is not None:
            raise BenchFault(f"the daemon ended with {daemon.returncode}")
        health = Health()
        watcher = session("client", "connect", ports["zenoh"])
        stack.callback(watcher.close)
        watcher.declare_subscriber(f"{KEY}/health", health.add)
        for outlet in case.outlets:
            if case.readers and outlet in READERS:
                stack.enter_context(child([*me, outlet, str(ports[outlet]), str(case.readers)]))
            elif case.readers and outlet == "mqtt":
                for _ in range(case.readers):
                    port = str(ports["mqtt"])
                    stack.enter_context(child(["mosquitto_sub", "-h", "127.0.0.1", "-p", port, "-t", "#"]))
        wait("a person is seen", health.ready)
        time.sleep(5)  # readers connect, adaptation begins
        first, before, began, ticks = len(health.messages), health.published(), time.monotonic(), spent(daemon.pid)
        time.sleep(seconds)
        after, ended = spent(daemon.pid), time.monotonic()
        messages = max(1, health.published() - before)
        if daemon.poll() is not None:
            raise BenchFault(f"the daemon ended with {daemon.returncode}")
        latencies = [m["latency_ms"] for m in health.messages[first:] if m["latency_ms"]]
        per_message = 1e3 / TICKS / messages
        return Measured(
            messages,
            ended - began,
            (after["outlets"] - ticks["outlets"]) * per_message,
            (after["pipeline"] - ticks["pipeline"]) * per_message,
            resident_mb(daemon.pid),
            statistics.median(entry["p50"] for entry in latencies),  # type: ignore[index]
            statistics.median(entry["p99"] for entry in latencies),  # type: ignore[index]
            statistics.mean(int(m["people"]) for m in health.messages[first:]),  # type: ignore[call-overload]
        )


def table(people: list[int], seconds: float, size: tuple[int, int], rate_hz: int, program: Path) -> None:
    """Prints the cost of each outlet."""
    print(
        "| people | seen | outlets | readers of each | poses a second | outlets, ms a message | beyond none | memory, MB |"
    )
    print("| --- " * 8 + "|")
    for count in people:
        none = 0.0
        cases = [Case((), 0, count)]
        for outlet in OUTLETS:
            cases += [Case((outlet,), readers, count) for readers in ((1, 8) if outlet in READ else (0,))]
        cases += [Case(OUTLETS, readers, count) for readers in (1, 8)]
        for case in cases:
            seen = measure(case, seconds, size, rate_hz, program)
            none = none if case.outlets else seen.outlets_ms
            print(
                f"| {count} | {seen.people:.1f} | {case.name} | {case.readers if case.outlets else ''} "
                f"| {seen.messages / seen.seconds:.1f} | {seen.outlets_ms:.3f} | {seen.outlets_ms - none:+.3f} "
                f"| {seen.rss_mb:.0f} |",
                flush=True,
            )


def latency(rounds: int, seconds: float, size: tuple[int, int], rate_hz: int, program: Path) -> None:
    """Compares all outlets with 8 readers each, and with 1, against none, in turns."""
    cases = [Case((), 0, 1), Case(OUTLETS, 1, 1), Case(OUTLETS, 8, 1)]
    found: dict[Case, list[Measured]] = {case: [] for case in cases}
    for _ in range(rounds):
        for case in cases:
            found[case].append(measure(case, seconds, size, rate_hz, program))
    print("| outlets | readers of each | poses a second | capture to published, ms: median | p99 | p99 to none |")
    print("| --- " * 6 + "|")
    none = statistics.median(seen.p99_ms for seen in found[cases[0]])
    for case, seen in found.items():
        p50 = statistics.median(one.p50_ms for one in seen)
        p99 = statistics.median(one.p99_ms for one in seen)
        rate = statistics.median(one.messages / one.seconds for one in seen)
        readers = case.readers if case.outlets else ""
        print(f"| {case.name} | {readers} | {rate:.1f} | {p50:.1f} | {p99:.1f} | {p99 / none:.2f} |")


def main() -> int:
    """Command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--program", type=Path, default=PROGRAM)
    p.add_argument("--people", type=int, nargs="+", default=[1], help="people in the room, 1 to 8")
    p.add_argument("--seconds", type=float, default=12.0, help="measured of each daemon")
    p.add_argument("--size", type=int, nargs=2, default=(320, 240), metavar=("WIDTH", "HEIGHT"))
    p.add_argument("--rate", type=int, default=30, help="frames a second of the camera")
    p.add_argument("--latency", action="store_true", help="latency with all outlets against none, in turns")
    p.add_argument("--rounds", type=int, default=3, help="of --latency")
    p.add_argument("--read", nargs=3, metavar=("KIND", "PORT", "READERS"), help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.read:
        READERS[a.read[0]](int(a.read[1]), int(a.read[2]))
        return 0
    size = (a.size[0], a.size[1])
    try:
        if not a.program.exists():
            raise BenchFault(f"{a.program} is not built")
        if not shutil.which("mosquitto"):
            raise BenchFault("mosquitto is not installed")
        if any(not 1 <= count <= 8 for count in a.people):
            raise BenchFault(f"--people {a.people}: expected 1 to 8")
        if a.latency:
            latency(a.rounds, a.seconds, size, a.rate, a.program)
        else:
            table(a.people, a.seconds, size, a.rate, a.program)
    except BenchFault as fault:
        print(fault, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
