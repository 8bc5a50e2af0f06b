// Looks at a running daemon with Foxglove's own client library and decoders, and says what it saw. Starts the daemon with
// a synthetic camera over a mount. A browser is not needed:
//
//     npm install --prefix /tmp/fg @foxglove/ws-protocol@0.8.0 @foxglove/rosmsg@5 @foxglove/rosmsg2-serialization@3 ws@8
//     cargo build --bin poised && node tests/foxglove/real.mjs target/debug/poised /tmp/fg

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const [program, packages] = process.argv.slice(2);
const require = createRequire(join(resolve(packages), "package.json"));
const { FoxgloveClient } = require("@foxglove/ws-protocol");
const { parse } = require("@foxglove/rosmsg");
const { MessageReader } = require("@foxglove/rosmsg2-serialization");
const { WebSocket } = require("ws");

const PORT = 8765 + (process.pid % 1000);
const ADDRESS = `ws://127.0.0.1:${PORT}`;
const PATIENCE_MS = 120_000;
const MESSAGES = { "/poised/front/joints": 30, "/poised/front/markers": 30, "/diagnostics": 2, "/tf": 30 };

const folder = mkdtempSync(join(tmpdir(), "poised-foxglove-"));
const calibration = `camera = "synthetic"
[image]
width_px = 320
height_px = 240
[intrinsics]
fx_px = 277.0
fy_px = 277.0
cx_px = 159.5
cy_px = 119.5
[distortion]
model = "none"
[mount]
height_m = 1.5
down_deg = 5.0
`;
const config = `[camera]
name = "front"
synthetic = { width_px = 320, height_px = 240 }
[calibration]
file = "calibration.toml"
[zenoh]
listen = []
multicast = false
[foxglove]
listen = "127.0.0.1:${PORT}"
`;

function fail(why) {
  console.error(why);
  process.exitCode = 1;
}

// Resolves with the status of the answer to a request with these headers; 101 where it is let in.
function status(protocols, options) {
  return new Promise((done) => {
    const socket = new WebSocket(ADDRESS, protocols, options);
    socket.on("unexpected-response", (_, response) => done(response.statusCode));
    socket.on("open", () => (socket.close(), done(101)));
    socket.on("error", () => done(0));
  });
}

// Subscribes to all topics under a name of the protocol, and checks what comes.
function look(name) {
  return new Promise((done, failed) => {
    const client = new FoxgloveClient({ ws: new WebSocket(ADDRESS, [name]) });
    const topics = new Map();
    const seen = Object.fromEntries(Object.keys(MESSAGES).map((topic) => [topic, 0]));
    client.on("error", failed);
    client.on("advertise", (channels) => {
      for (const channel of channels) {
        const reader = new MessageReader(parse(channel.schema, { ros2: true }));
        topics.set(client.subscribe(channel.id), { topic: channel.topic, reader });
      }
    });
    client.on("message", ({ subscriptionId, timestamp, data }) => {
      const { topic, reader } = topics.get(subscriptionId);
      check(topic, reader.readMessage(data), Number(timestamp / 1_000_000n));
      seen[topic] += 1;
      if (Object.entries(MESSAGES).every(([topic, least]) => seen[topic] >= least)) {
        client.close();
        done(seen);
      }
    });
  });
}

// Values that only a right decoding has.
function check(topic, message, time_ms) {
  const age_ms = Date.now() - time_ms;
  if (Math.abs(age_ms) > 20_000) throw new Error(`${topic}: ${age_ms} ms old`);
  if (topic.endsWith("joints")) {
    const { width, point_step, data, fields, header } = message;
    if (header.frame_id !== "front_optical_frame") throw new Error(header.frame_id);
    if (data.length !== width * point_step || fields[2].name !== "z") throw new Error(`${topic}: ${width} points`);
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    for (let at = 0; at < data.length; at += point_step) {
      const z_m = view.getFloat32(at + 8, true);
      if (!(z_m > 0.5 && z_m < 20)) throw new Error(`${topic}: a joint at z = ${z_m} m`);
    }
  } else if (topic.endsWith("markers")) {
    for (const { header, color } of message.markers) {
      if (header.frame_id !== "front_optical_frame" || !(color.a >= 0 && color.a <= 1)) throw new Error(topic);
    }
  } else if (topic === "/diagnostics") {
    const { name, values } = message.status[0];
    if (name !== "poised: front" || values.length < 10) throw new Error(`${topic}: ${name}`);
  } else {
    const { child_frame_id, transform } = message.transforms[0];
    if (child_frame_id !== "front_optical_frame" || Math.abs(transform.translation.z - 1.5) > 1e-6) throw new Error(topic);
  }
}

writeFileSync(join(folder, "calibration.toml"), calibration);
writeFileSync(join(folder, "poised.toml"), config);
const models = fileURLToPath(new URL("../../models", import.meta.url));
const daemon = spawn(resolve(program), ["run", "--config", "poised.toml"], {
  cwd: folder,
  env: { ...process.env, POISED_MODELS: models },
  stdio: "inherit",
});
const late = setTimeout(() => (fail("too late"), daemon.kill("SIGKILL")), PATIENCE_MS);
try {
  while ((await status(["foxglove.sdk.v1"])) !== 101) {
    if (daemon.exitCode !== null) throw new Error("the daemon has ended");
    await new Promise((go) => setTimeout(go, 200));
  }
  for (const name of ["foxglove.websocket.v1", "foxglove.sdk.v1"]) console.log(name, await look(name));
  const foreign = await status(["foxglove.sdk.v1"], { origin: "http://evil.example" });
  console.log("foreign origin:", foreign);
  if (foreign !== 403) fail("a page of a stranger is let in");
} catch (error) {
  fail(error);
} finally {
  clearTimeout(late);
  if (daemon.exitCode === null) {
    const ended = new Promise((end) => daemon.on("exit", end));
    daemon.kill("SIGTERM");
    await ended;
  }
  rmSync(folder, { recursive: true });
}
