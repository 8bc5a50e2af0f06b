"""The web view in a real browser: `./dev browser` installs Chromium and calls this.

`POISED_SCREENSHOTS` names a folder for pictures of the page, on a desktop and on a phone.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: ./dev browser")

REPOSITORY = Path(__file__).parents[2]
PROGRAM = Path(os.environ.get("POISED_PROGRAM", REPOSITORY / "target/debug/poised"))
NODE = shutil.which("node")
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
# The narrowest screen that WCAG 2.2 wants (1.4.10).
NARROW = {"width": 320, "height": 640}
# What can be reached with the tabulator, in this order; `summary` is that of the person's joints.
FOCUS = ["pause", "space", "left", "right", "up", "down", "nearer", "farther", "reset", "summary"]
# Of text, and of the colours of people, which names beside them are written in.
CONTRAST_MIN = 4.5
# Until the networks are loaded and the first frames are estimated, on a busy machine.
FIRST_POSES_MS = 60_000
POSES_MIN = 40
PAUSE_TRIES = 20
# Until the daemon has opened its networks.
LISTENS_S = 60

pytestmark = pytest.mark.skipif(
    not (PROGRAM.exists() and Path(CHROMIUM).exists()),
    reason=f"no {PROGRAM} or no {CHROMIUM}: ./dev browser",
)

# How many pixels of a canvas are in one of the colours of people, and a sum that changes when they move.
DRAWN = """
const drawn = (id) => {
    const canvas = document.getElementById(id);
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let [count, sum] = [0, 0];
    for (let i = 0; i < data.length; i += 4) {
        const [r, g, b, a] = data.slice(i, i + 4);
        if (a > 100 && Math.max(r, g, b) - Math.min(r, g, b) > 60) { count += 1; sum = (sum + i * 31) % 1000003; }
    }
    return [count, sum];
};
"""
# So many pixels are a person.
DRAWN_MIN = 500


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Demo:
    """`poised demo --web`, which can be stopped and started again at the same address."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [str(PROGRAM), "demo", "--seconds", "600", "--width", "320", "--height", "240", "--json"]
        command += ["--web", f"127.0.0.1:{self.port}"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.wait_until_it_listens()

    def wait_until_it_listens(self) -> None:
        deadline = time.monotonic() + LISTENS_S
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.2)
        raise TimeoutError(f"nothing listens on port {self.port} after {LISTENS_S} s")

    def stop(self) -> None:
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)
            self.process = None


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    demo = Demo()
    demo.start()
    yield demo
    demo.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # A name that resolves to this machine, as a rebinding attack has it.
    arguments = ["--no-sandbox", "--disable-dev-shm-usage", "--host-resolver-rules=MAP evil.example 127.0.0.1"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


class Page:
    """A page on the web view, and what went wrong in it."""

    def __init__(self, browser: Browser, url: str, **options: object) -> None:
        self.page = browser.new_page(**options)
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(url)

    def wait_for_poses(self, count: int) -> None:
        script = "(count) => Number(document.body.dataset.poses ?? 0) >= count"
        self.page.wait_for_function(script, arg=count, timeout=FIRST_POSES_MS)

    def poses(self) -> int:
        return int(self.page.evaluate("Number(document.body.dataset.poses ?? 0)"))

    def drawn(self, canvas: str) -> tuple[int, int]:
        count, total = self.page.evaluate(f"(id) => {{ {DRAWN} return drawn(id); }}", canvas)
        return count, total

    def wait_for_drawing(self, canvas: str, other_than: int = -1) -> int:
        """Until a person is drawn, and otherwise than before. Gives the sum of what is drawn."""
        script = (
            f"([id, least, before]) => {{ {DRAWN} const [n, sum] = drawn(id); return n > least && sum !== before; }}"
        )
        self.page.wait_for_function(script, arg=[canvas, DRAWN_MIN, other_than], timeout=FIRST_POSES_MS)
        return self.drawn(canvas)[1]

    def pause_with_person(self) -> None:
        """Pauses while a person is shown: on a busy machine the demo's person is lost at times."""
        for _ in range(PAUSE_TRIES):
            self.wait_for_drawing("space")
            self.page.click("#pause")
            self.page.wait_for_timeout(400)
            if self.drawn("space")[0] > DRAWN_MIN and self.page.locator("#people article").count() == 1:
                return
            self.page.click("#pause")
        raise TimeoutError("no person to pause with")

    def shoot(self, name: str) -> None:
        if folder := os.environ.get("POISED_SCREENSHOTS"):
            self.page.screenshot(path=Path(folder) / f"{name}.png")


def event_of(url: str, kind: str, wanted: Callable[[dict], bool] = lambda message: True) -> dict:
    """The next message of a kind that is `wanted`, as a program reads it."""
    with urllib.request.urlopen(url + "live", timeout=60) as stream:
        event = ""
        for line in stream:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name == "event":
                event = value
            elif name == "data" and event == kind and wanted(message := json.loads(value)):
                return message
    raise EOFError(f"the stream ended before a {kind}")


def test_people_are_drawn_move_and_can_be_turned(demo: Demo, browser: Browser) -> None:
    view = Page(browser, demo.url, viewport=DESKTOP)
    view.wait_for_poses(POSES_MIN)
    for canvas in ["image", "space"]:
        before = view.wait_for_drawing(canvas)
        view.wait_for_drawing(canvas, other_than=before)
    view.page.wait_for_function("() => document.getElementById('status').textContent.includes('1 person')")
    view.shoot("desktop")

    # Paused, so that only the drag changes what is drawn.
    view.pause_with_person()
    yaw = view.page.evaluate("document.body.dataset.yaw")
    _, before = view.drawn("space")
    box = view.page.locator("#space").bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    view.page.mouse.move(x, y)
    view.page.mouse.down()
    view.page.mouse.move(x + 120, y + 20, steps=5)
    view.page.mouse.up()
    view.page.wait_for_timeout(300)
    assert view.drawn("space")[1] != before
    turned = view.page.evaluate("document.body.dataset.yaw")
    assert turned != yaw
    view.page.focus("#space")
    view.page.keyboard.press("ArrowLeft")
    assert view.page.evaluate("document.body.dataset.yaw") != turned
    assert view.errors == []
    view.page.close()


def test_the_page_shows_what_the_messages_say(demo: Demo, browser: Browser) -> None:
    view = Page(browser, demo.url, viewport=DESKTOP)
    view.wait_for_poses(POSES_MIN)
    view.pause_with_person()
    view.page.click("#people summary")
    # The table is filled when the page is drawn again, at the latest a second later.
    view.page.wait_for_function("() => document.querySelector('#people tbody td.number')?.textContent")
    shown = [row.split("\t") for row in view.page.inner_text("#people tbody").splitlines()]
    pose = event_of(demo.url, "pose", lambda message: len(message["persons"]) == 1)
    names = event_of(demo.url, "names")
    assert [row[0] for row in shown] == [name.replace("_", " ") for name in names["joints"]]
    (person,) = pose["persons"]
    known = sum(joint is not None for joint in person["joints_m"])
    # The demo's person walks about: depth changes by centimetres between the page's pose and ours.
    depths = [float(row[5]) for row in shown if row[5]]
    assert len(depths) >= known - 4
    assert all(0.3 < depth < 12 for depth in depths)
    assert view.errors == []
    view.page.close()


def repetition(person: int, count: int, partials: int, **figures: object) -> str:
    """A repetition as it is in the event stream."""
    message = {
        "schema": "repetition/v1", "exercise": "arm_raise", "person": person, "count": count, "partials": partials,
        "kind": "whole", "depth_deg": 151.4, "depth_sigma_deg": 4.2, "duration_s": 2.04, "difference_deg": -6.6,
        "camera": "c", "sequence": count + partials, "unix_ns": 1, "publish_ns": 1, "clock": "c",
    }  # fmt: skip
    return f"event: repetition\ndata: {json.dumps(message | figures)}\n\n"


def test_repetitions_are_shown_for_each_person_the_newest_on_top(demo: Demo, browser: Browser) -> None:
    told = [repetition(4, 1, 0), repetition(7, 1, 0, difference_deg=None), repetition(4, 1, 1, kind="partial")]
    stream = {"status": 200, "content_type": "text/event-stream", "body": "".join(told)}
    view = Page(browser, "about:blank", viewport=DESKTOP)
    view.page.goto(demo.url)
    assert not view.page.is_visible("#exercise-title")  # before the first repetition
    view.page.route("**/live", lambda route: route.fulfill(**stream))
    view.page.reload()
    view.page.wait_for_selector("#exercise tr:nth-child(2)")
    assert view.page.inner_text("#exercise-title") == "Exercise: arm raise"
    assert view.page.inner_text("#exercise-newest") == "Person 4: partial, not counted, 151\u00b0"
    rows = [row.split("\t") for row in view.page.inner_text("#exercise").splitlines()]
    assert rows == [["4", "1", "1", "151", "4", "2.0", "-7"], ["7", "1", "0", "151", "4", "2.0", "-"]]
    assert view.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    view.shoot("exercise")
    assert view.errors == []
    view.page.close()


def test_on_a_phone_everything_is_there_and_nothing_is_wider_than_the_screen(demo: Demo, browser: Browser) -> None:
    view = Page(browser, demo.url, viewport=PHONE, device_scale_factor=2, is_mobile=True, has_touch=True)
    view.wait_for_poses(POSES_MIN)
    assert view.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    view.wait_for_drawing("image")
    view.shoot("phone")
    assert view.errors == []
    view.page.close()


def test_at_320_pixels_nothing_is_cut_off_and_pause_is_beside_the_name(demo: Demo, browser: Browser) -> None:
    view = Page(browser, demo.url, viewport=NARROW, device_scale_factor=2)
    view.pause_with_person()
    view.page.click("#people summary")
    # Wide content scrolls in a box of its own; nothing else is wider than what holds it.
    wide = """() => [...document.querySelectorAll("body *")].filter((node) =>
        !node.matches(".scroll, .scroll *") && getComputedStyle(node).display !== "inline" &&
        node.scrollWidth > node.clientWidth + 1 && node.clientWidth > 0).map((node) => node.outerHTML.slice(0, 60))"""
    assert view.page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    assert view.page.evaluate(wide) == []
    name, pause = (view.page.locator(part).bounding_box() for part in ["h1", "#pause"])
    assert name and pause and abs(name["y"] + name["height"] / 2 - pause["y"] - pause["height"] / 2) < 4
    view.shoot("narrow")
    assert view.errors == []
    view.page.close()


def test_the_keyboard_reaches_everything_in_the_order_of_the_page(demo: Demo, browser: Browser) -> None:
    view = Page(browser, demo.url, viewport=DESKTOP)
    view.pause_with_person()
    view.page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    focused = """() => {
        const own = document.activeElement;
        return [own.id || own.dataset.turn || own.localName, getComputedStyle(own).outlineStyle];
    }"""
    reached = []
    for _ in FOCUS:
        view.page.keyboard.press("Tab")
        reached.append(view.page.evaluate(focused))
    assert reached[0][0] in FOCUS
    start = FOCUS.index(reached[0][0])
    assert [name for name, _ in reached][: len(FOCUS) - start] == FOCUS[start:]
    assert all(outline == "solid" for name, outline in reached if name in FOCUS), reached
    yaw = view.page.evaluate("document.body.dataset.yaw")
    view.page.focus("[data-turn=left]")
    view.page.keyboard.press("Enter")
    assert view.page.evaluate("document.body.dataset.yaw") != yaw
    view.page.focus("#people summary")
    view.page.keyboard.press("Enter")
    assert view.page.locator("#people details[open]").count() == 1
    view.page.focus("#pause")
    view.page.keyboard.press("Space")
    assert view.page.inner_text("#pause") == "Pause"
    assert view.errors == []
    view.page.close()


def test_with_reduced_motion_it_is_drawn_twice_a_second(demo: Demo, browser: Browser) -> None:
    def drawings(motion: str) -> int:
        view = Page(browser, demo.url, viewport=DESKTOP, reduced_motion=motion)
        view.wait_for_poses(POSES_MIN)
        view.wait_for_drawing("space")
        # Each drawing clears the canvas once.
        count = """async () => {
            const context = document.getElementById("space").getContext("2d");
            const clear = context.clearRect;
            let drawn = 0;
            context.clearRect = (...area) => { drawn += 1; clear.apply(context, area); };
            // Far more often than either draws, however few poses a busy machine makes.
            const button = document.querySelector("[data-turn=left]");
            const turning = setInterval(() => button.click(), 20);
            await new Promise((done) => setTimeout(done, 4000));
            clearInterval(turning);
            return drawn;
        }"""
        drawn = int(view.page.evaluate(count))
        assert view.errors == []
        view.page.close()
        return drawn

    assert 3 <= drawings("reduce") <= 9
    assert drawings("no-preference") > 12


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_colours_of_people_can_be_read(demo: Demo, browser: Browser, scheme: str) -> None:
    view = Page(browser, demo.url, viewport=DESKTOP, color_scheme=scheme)
    view.wait_for_poses(POSES_MIN)
    view.shoot(f"desktop-{scheme}")
    script = """() => {
        const style = getComputedStyle(document.documentElement);
        const light = (name) => {
            const text = style.getPropertyValue(name).trim();
            const parts = [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16) / 255);
            const [r, g, b] = parts.map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const people = Array.from({ length: 8 }, (_, i) => `--p${i}`);
        const names = ["--text", "--soft", "--accent", "--good", "--bad", "--measured", "--completed", ...people];
        return names.flatMap((name) => ["--back", "--card"].map((back) => {
            const [a, b] = [light(name), light(back)].sort((x, y) => y - x);
            return [name, back, (a + 0.05) / (b + 0.05)];
        }));
    }"""
    contrasts = view.page.evaluate(script)
    assert len(contrasts) == 30
    assert [entry for entry in contrasts if entry[2] < CONTRAST_MIN] == []
    view.page.close()


def test_the_page_recovers_when_the_daemon_was_restarted(demo: Demo, browser: Browser) -> None:
    view = Page(browser, demo.url, viewport=DESKTOP)
    view.wait_for_poses(POSES_MIN)
    demo.stop()
    view.page.wait_for_function("() => document.getElementById('status').textContent.startsWith('no connection')")
    seen = view.poses()
    demo.start()
    view.wait_for_poses(seen + POSES_MIN)
    assert view.page.inner_text("#status").startswith("live")
    assert view.errors == []
    view.page.close()


@pytest.mark.skipif(NODE is None, reason="node is not installed: the example page is not tested")
def test_the_example_page_draws_people_through_its_own_server(demo: Demo, browser: Browser) -> None:
    port = free_port()
    folder = REPOSITORY / "clients/js"
    command = [str(NODE), str(folder / "examples/serve.mjs"), str(folder), str(port), demo.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        assert server.stdout and server.stdout.readline()
        page = browser.new_page(viewport=DESKTOP)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"http://localhost:{port}/examples/stick-figures.html")
        drawn = """(least) => {
            const canvas = document.querySelector("canvas");
            const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            let count = 0;
            for (let i = 3; i < data.length; i += 4) count += data[i] > 100;
            return count > least;
        }"""
        page.wait_for_function(drawn, arg=DRAWN_MIN, timeout=FIRST_POSES_MS)
        if folder_of_shots := os.environ.get("POISED_SCREENSHOTS"):
            page.screenshot(path=Path(folder_of_shots) / "stick-figures.png")
        server.terminate()
        page.wait_for_function("() => document.getElementById('status').dataset.state === 'lost'")
        assert not page.evaluate(drawn, 0), "what is not of now is not shown"
        assert errors == []
        page.close()


class Foreign(BaseHTTPRequestHandler):
    """A page of another origin."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>foreign</title>")

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def test_pages_of_others_and_rebound_names_read_nothing(demo: Demo, browser: Browser) -> None:
    page = browser.new_page()
    answer = page.goto(f"http://evil.example:{demo.port}/")
    assert answer is not None and answer.status == 421

    foreign = HTTPServer(("127.0.0.1", 0), Foreign)
    threading.Thread(target=foreign.serve_forever, daemon=True).start()
    page.goto(f"http://127.0.0.1:{foreign.server_port}/")
    read = """async (url) => {
        const fetched = await fetch(url + "live").then(() => "read", () => "refused");
        const events = await new Promise((resolve) => {
            const source = new EventSource(url + "live");
            source.addEventListener("pose", () => resolve("read"));
            source.onerror = () => { source.close(); resolve("refused"); };
        });
        return [fetched, events];
    }"""
    assert page.evaluate(read, demo.url) == ["refused", "refused"]
    foreign.shutdown()
    page.close()

    request = urllib.request.Request(demo.url, headers={"Origin": "http://evil.example"})
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(request, timeout=10)
    assert refusal.value.code == 403
