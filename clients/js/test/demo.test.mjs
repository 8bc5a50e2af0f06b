// The client, and the server of the example, against a running daemon: `poised demo --web`.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createServer } from "node:net";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { JOINT_NAMES, KEYPOINT_NAMES, Live, PARENTS, STATES, poses } from "../poised.js";
import { until } from "./server.mjs";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const PROGRAM = process.env.POISED_PROGRAM ?? here("../../../target/debug/poised");
const skip = existsSync(PROGRAM) ? false : `${PROGRAM} is not built`;
/** Until the networks are loaded, on a busy machine. */
const STARTED_MS = 120_000;

function freePort() {
  return new Promise((found) => {
    const probe = createServer().listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => found(port));
    });
  });
}

const running = [];
function start(command, ...rest) {
  const child = spawn(command, ...rest);
  running.push(child);
  return child;
}

let port;
let url;
function startDemo() {
  const size = ["--width", "320", "--height", "240"];
  const demo = ["demo", "--seconds", "300", ...size, "--json", "--web", `127.0.0.1:${port}`];
  return start(PROGRAM, demo, { cwd: here("../../.."), stdio: "ignore" });
}
async function stop(child) {
  const gone = new Promise((done) => child.on("exit", done));
  child.kill();
  await gone;
}

let demo;
before(async () => {
  if (skip) return;
  port = await freePort();
  url = `http://127.0.0.1:${port}`;
  demo = startDemo();
});
after(() => { for (const child of running) child.kill(); });

test("poses, health and names of the demo, and its restart", { skip, timeout: 2 * STARTED_MS }, async (t) => {
  const live = new Live(url, { retryMs: [200] });
  t.after(() => live.close()); // what failed must not keep this process alive
  const seen = [];
  let people = 0;
  for await (const pose of live.poses()) {
    seen.push(pose.sequence);
    people += pose.persons.length;
    for (const person of pose.persons) {
      const known = person.joints.filter(({ place_m }) => place_m);
      assert.ok(known.length > 5 && known.every(({ place_m }) => place_m[2] > 0.3 && place_m[2] < 20));
      assert.equal(person.joints.length, 17);
    }
    if (seen.length >= 30 && people >= 10) break;
  }
  assert.ok(seen.every((sequence, i) => i === 0 || sequence > seen[i - 1]), `${seen}`);
  // Health comes once a second, so the first may still be from before the camera was open.
  await until(() => live.health?.camera_state === "running", "health of a camera that runs");
  assert.equal(live.health.clock, live.pose.clock, "of one clock, so that an old pose is known by it");
  assert.deepEqual(live.names.joints, [...JOINT_NAMES]);
  assert.deepEqual(live.names.parents, [...PARENTS]);
  assert.deepEqual(live.names.keypoints, [...KEYPOINT_NAMES]);
  assert.deepEqual(live.names.states, [...STATES]);
  assert.equal(live.faults, 0);

  await stop(demo);
  await until(() => live.state === "lost", "the loss is seen");
  demo = startDemo();
  for await (const pose of live.poses()) {
    assert.ok(pose.sequence >= 0);
    break;
  }
  assert.equal(live.state, "live");
});

test("the example's server passes the stream on, to its own pages only", { skip, timeout: STARTED_MS }, async () => {
  const own = await freePort();
  const server = start(process.execPath, [here("../examples/serve.mjs"), here(".."), own, url], { stdio: ["ignore", "pipe", "inherit"] });
  await new Promise((listens) => server.stdout.once("data", listens));
  const at = `http://127.0.0.1:${own}`;
  for await (const pose of poses(`${at}/poised/`, { retryMs: [200] })) {
    assert.equal(pose.schema, "pose/v1");
    break;
  }
  const status = async (path, headers = {}) => {
    const answer = await fetch(at + path, { headers });
    await answer.body.cancel();
    return answer.status;
  };
  assert.equal(await status("/examples/stick-figures.html"), 200);
  assert.equal(await status("/poised.js"), 200);
  for (const path of ["/missing.html", "/..%2f..%2fREADME.md", "/examples/", "/%2e%2e/%2e%2e/Cargo.toml", "/test"]) {
    assert.equal(await status(path), 404, path);
  }
  assert.equal(await status("/%"), 400);
  assert.equal(await status("/poised/live", { Origin: "http://evil.example" }), 403);
  assert.equal(await status("/poised/live", { "Sec-Fetch-Site": "cross-site" }), 403);
  await stop(server);
});
