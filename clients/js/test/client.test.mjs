// The client against a server on a real socket that cuts, mutilates, refuses and comes back.

import assert from "node:assert/strict";
import { once } from "node:events";
import { afterEach, beforeEach, test } from "node:test";
import { Worker } from "node:worker_threads";
import { EDGES, JOINT_NAMES, KEYPOINT_EDGES, Live, LiveError, MessageError, PARENTS, parse, poses } from "../poised.js";
import { PATIENCE_MS, Server, event, health, person, pose, sleep, until } from "./server.mjs";

/** So that tests do not wait for the pauses of practice. */
const QUICK = { retryMs: [20, 40, 80], staleAfterMs: 300, silentAfterMs: 1000 };

let server;
const open = new Set();

function connect(options = {}, address = server.url) {
  const live = new Live(address, { ...QUICK, ...options });
  open.add(live);
  return live;
}

/** What is told of a kind, as it comes. */
function told(live, kind) {
  const list = [];
  live.addEventListener(kind, ({ detail }) => list.push(detail));
  return list;
}

beforeEach(async () => { server = await new Server().start(); });
afterEach(async () => {
  for (const live of open) live.close();
  open.clear();
  await server.stop();
});

test("joints and keypoints have names and typed states", async () => {
  const live = connect();
  const loop = live.poses();
  const next = loop.next();
  (await server.reader()).write(event("pose", pose(41)));
  const { value } = await next;
  assert.deepEqual([value.sequence, value.camera, value.skipped], [41, "front", 0]);
  const [who] = value.persons;
  assert.deepEqual(who.joint("pelvis"), { name: "pelvis", state: "measured", place_m: [0.1, 0.2, 3], sigma_m: 0.015 });
  assert.equal(who.joint("right_elbow").state, "completed");
  assert.deepEqual(who.joint("right_wrist"), { name: "right_wrist", state: "absent", place_m: null, sigma_m: null });
  assert.deepEqual(who.keypoints[0], { name: "nose", x_px: 0, y_px: 0, confidence: 0.9, visibility: 0.9 });
  assert.equal(who.states[16], 0, "the keys of the message are there as well");
  assert.throws(() => who.joint("tail"), RangeError);
});

test("the skeleton is a tree over all joints", () => {
  assert.equal(EDGES.length, JOINT_NAMES.length - 1);
  assert.deepEqual(EDGES.map(([, child]) => child).sort((a, b) => a - b), [...JOINT_NAMES.keys()].slice(1));
  assert.ok(EDGES.every(([parent, child]) => PARENTS[child] === parent));
  const named = ([a, b]) => `${JOINT_NAMES[a]} ${JOINT_NAMES[b]}`;
  assert.ok(EDGES.map(named).includes("left_elbow left_wrist"));
  assert.ok(KEYPOINT_EDGES.flat().every((end) => end >= 0 && end < 17));
});

test("a keypoint has its visibility, of an older daemon its confidence", () => {
  const first = (more) => parse(pose(1, { persons: [person(7, more)] })).persons[0].keypoints[8];
  const both = ({ confidence, visibility }) => [confidence, visibility];
  assert.deepEqual(both(first({ visibilities: Array.from({ length: 17 }, (_, i) => i / 32) })), [0.9, 0.25]);
  assert.deepEqual(both(first({})), [0.9, 0.9]);
});

test("a person of whom too little is in view has no root", () => {
  const nothing = { root_m: null, root_sigma_m: null, states: Array(17).fill(0), joints_m: Array(17).fill(null),
    sigmas_m: Array(17).fill(null) };
  const [who] = parse(pose(1, { persons: [person(7, nothing)] })).persons;
  assert.equal(who.root_m, null);
  assert.equal(who.joint("pelvis").place_m, null);
  assert.equal(who.keypoints.length, 17);
});

test("what is no pose is refused by name", () => {
  const broken = (more) => pose(1, { persons: [person(7, more)] });
  for (const [message, words] of [
    [null, /schema is undefined/],
    [{ schema: "pose/v2" }, /"pose\/v2", expected pose\/v1/],
    [{ schema: "pose/v1" }, /sequence is undefined/],
    [pose(1, { persons: 3 }), /persons is 3/],
    [pose(1, { persons: [null] }), /id of a person/],
    [broken({ states: [1] }), /states of person 7 is \[1\], expected a list of 17/],
    [broken({ states: Array(17).fill(9) }), /state of pelvis of person 7 is 9/],
    [broken({ states: Array(17).fill(0) }), /position of pelvis, absent, of person 7/],
    [broken({ sigmas_m: Array(17).fill(null) }), /sigma of pelvis, measured, of person 7 is null/],
    [broken({ root_m: [1, 2] }), /root_m of person 7 is \[1,2\]/],
    [broken({ keypoints_px: Array(17).fill("x") }), /nose of person 7/],
    [broken({ visibilities: [1] }), /visibilities of person 7 is \[1\], expected a list of 17/],
    [broken({ visibilities: Array(17).fill(null) }), /visibility of nose of person 7 is null/],
  ]) {
    assert.throws(() => parse(message), (error) => error instanceof MessageError && words.test(error.message), `${words}`);
  }
  assert.equal(parse({ ...pose(1), later: 1 }).later, 1, "a later daemon may add keys");
});

test("bad JSON and other schemas are passed over, told and counted", async () => {
  const live = connect();
  const faults = told(live, "fault");
  const seen = told(live, "pose");
  const reader = await server.reader();
  const parts = [
    "event: pose\ndata: {\"schema\": \n\n", event("pose", { ...pose(1), schema: "pose/v2" }), event("health", { schema: 1 }),
    "event: pose\ndata: null\n\n", event("future", {}), ": comment\n\n", event("pose", pose(2)),
  ];
  for (const part of parts) {
    reader.write(part);
    await sleep(20);
  }
  await until(() => seen.length === 1, "the good pose");
  assert.equal(seen[0].sequence, 2);
  assert.equal(live.faults, 4);
  assert.match(faults[0].message, /^pose: no JSON/);
  assert.match(faults[2].message, /schema of health is 1/);
  assert.ok(faults.every((fault) => fault instanceof MessageError));
  assert.equal(live.state, "live");
});

test("each repetition is told, also those that come at once, and another schema is passed over", async () => {
  const live = connect();
  const seen = told(live, "repetition");
  const reader = await server.reader();
  const repetition = (count) => event("repetition", { schema: "repetition/v1", exercise: "squat", person: 1, count });
  reader.write(repetition(1) + repetition(2) + event("repetition", { schema: "repetition/v2" }) + repetition(3));
  await until(() => seen.length === 3, "three repetitions");
  assert.deepEqual(seen.map(({ count }) => count), [1, 2, 3]);
  assert.equal(live.faults, 1);
});

test("the pieces of a stream do not matter, even halves of a character", async () => {
  const live = connect();
  const seen = told(live, "pose");
  const label = "hebt den Fuß 🦶";
  const bytes = Buffer.from(event("pose", pose(1, { persons: [person(7, { action: { label } })] })));
  const reader = await server.reader();
  reader.socket.setNoDelay(true);
  const foot = bytes.indexOf(Buffer.from("🦶"));
  const cuts = [1, 6, 12, bytes.indexOf(Buffer.from("ß")) + 1, foot + 1, foot + 2, foot + 3, bytes.length - 1, bytes.length];
  let from = 0;
  for (const cut of cuts) {
    reader.write(bytes.subarray(from, cut));
    from = cut;
    await sleep(10);
  }
  await until(() => seen.length === 1, "the pose");
  assert.equal(seen[0].persons[0].action.label, label);
  assert.equal(live.faults, 0);

  // Each byte alone, with the other ends of lines and data in two lines.
  const text = `: x\r\nevent:pose\r\ndata: ${JSON.stringify(pose(2)).replace(",", ",\r\ndata:")}\r\n\r\n`;
  for (const byte of Buffer.from(text)) reader.write(Buffer.of(byte));
  await until(() => seen.length === 2, "the second pose");
  reader.write(event("pose", pose(3)).replaceAll("\n", "\r") + ":");
  await until(() => seen.length === 3, "the third pose");
  assert.equal(live.faults, 0);
});

test("after a cut in the middle of an event it connects again", async () => {
  const live = connect();
  const states = told(live, "state");
  const seen = told(live, "pose");
  const first = await server.reader();
  first.write(event("pose", pose(1)) + event("pose", pose(2)).slice(0, 300));
  await until(() => seen.length === 1, "the first pose");
  first.socket.destroy();
  (await server.reader(2)).write(event("pose", pose(9)));
  await until(() => seen.length === 2, "a pose of the second connection");
  assert.deepEqual(seen.map(({ sequence, skipped }) => [sequence, skipped]), [[1, 0], [9, 0]]);
  assert.deepEqual(states, ["live", "lost", "connecting", "live"]);
  assert.equal(live.error, null);
});

test("an ended stream is a loss, and one loop goes on over restarts of the daemon", async () => {
  const live = connect();
  const loop = live.poses();
  const sequences = [];
  for (const restart of [false, true, true]) {
    if (restart) {
      const { port } = server;
      server.readers[0].end();
      await until(() => live.state === "lost", "the end is seen");
      assert.match(live.error.message, /ended the connection|no answer/);
      await server.stop();
      await sleep(100);
      assert.equal(live.state, "lost");
      await server.start(port);
    }
    const next = loop.next();
    (await server.reader()).write(event("pose", pose(0)));
    sequences.push((await next).value.sequence);
  }
  assert.deepEqual(sequences, [0, 0, 0]);
});

test("pauses between tries grow, and begin again after a message", async () => {
  server.answer = (_, response) => response.writeHead(503).end();
  const live = connect({ retryMs: [50, 100, 400] });
  await until(() => server.asked.length === 5, "five tries");
  const pauses = server.asked.slice(1).map(({ at }, i) => at - server.asked[i].at);
  assert.ok(pauses[0] >= 40 && pauses[1] >= 80 && pauses[2] >= 320 && pauses[3] >= 320, `${pauses}`);
  assert.match(live.error.message, /503: as many readers/);
  assert.equal(live.state, "lost");
  const cutAt = [];
  server.answer = (_, response) => {
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    response.end(event("health", health()), () => cutAt.push(performance.now()));
  };
  await until(() => cutAt.length === 3, "three short connections");
  // With the first pause each time; the last one is 400 ms.
  assert.ok(server.asked.at(-1).at - cutAt[1] < 300, "the pause is the first one again");
});

test("a daemon that is away for long leaves nothing behind in the process", async () => {
  const warnings = [];
  const warned = (warning) => warnings.push(warning.message);
  process.on("warning", warned);
  server.answer = (_, response) => response.writeHead(502).end();
  connect({ retryMs: [5] });
  // Node warns of the eleventh listener that is left.
  await until(() => server.asked.length === 30, "thirty tries");
  await sleep(20);
  process.off("warning", warned);
  assert.deepEqual(warnings, []);
});

test("refusals end it, with the reason and what to do", async () => {
  for (const [status, words] of [[401, /token/], [403, /origin/], [404, /web view/], [421, /\[web\] hosts/]]) {
    server.answer = (_, response) => response.writeHead(status).end("no\n");
    const asked = server.asked.length;
    const live = connect();
    const isReason = (error) => error instanceof LiveError && error.refused && error.status === status && words.test(error.message);
    await assert.rejects(live.poses().next(), isReason);
    assert.equal(live.state, "refused");
    await assert.rejects(live.poses().next(), isReason, "a later loop is told, too");
    await sleep(100);
    // `fetch` itself asks twice where a server is the wrong one (421).
    assert.equal(server.asked.length, asked + (status === 421 ? 2 : 1), "it is not tried again");
  }
  server.answer = (_, response) => response.writeHead(200, { "Content-Type": "text/html" }).end("<p>");
  await assert.rejects(connect().poses().next(), /answers text\/html/);
});

test("the token travels in a header, from the option or behind #", async () => {
  server.answer = ({ headers }, response) => {
    const good = headers.authorization === "Bearer 0123456789abcdef";
    response.writeHead(good ? 200 : 401, { "Content-Type": "text/event-stream" });
    response.write(event("pose", pose(1)));
  };
  for (const [address, options] of [
    [server.url, { token: "0123456789abcdef" }],
    [`${server.url}/view/#token=0123456789abcdef`, {}],
    [new URL(`${server.url}/view#token=wrong`), { token: "0123456789abcdef" }],
  ]) {
    const live = connect(options, address);
    await until(() => live.state === "live", "it is let in");
  }
  assert.deepEqual(server.asked.map(({ url }) => url), ["/live", "/view/live", "/view/live"]);
  await assert.rejects(connect({ token: "wrong" }).poses().next(), /401/);
});

test("a slow loop gets the newest pose and is told what it missed", async () => {
  const live = connect();
  const loop = live.poses();
  const reader = await server.reader();
  const first = loop.next();
  reader.write(event("pose", pose(10)));
  assert.equal((await first).value.skipped, 0);
  // Slow by waiting: the reading goes on.
  for (let sequence = 11; sequence <= 15; sequence += 1) {
    reader.write(event("pose", pose(sequence)));
    await sleep(10);
  }
  await until(() => live.pose.sequence === 15, "the newest is read");
  const second = (await loop.next()).value;
  assert.deepEqual([second.sequence, second.skipped], [15, 4]);
  // The daemon skipped poses as well: both count.
  reader.write(event("pose", pose(20)));
  await until(() => live.pose.sequence === 20, "20");
  reader.write(event("pose", pose(22)));
  await until(() => live.pose.sequence === 22, "22");
  const third = (await loop.next()).value;
  assert.deepEqual([third.sequence, third.skipped], [22, 6]);
  // A connection that was lost in between is no gap of numbers.
  reader.end();
  (await server.reader(2)).write(event("pose", pose(500)));
  assert.deepEqual(await loop.next().then(({ value }) => [value.sequence, value.skipped]), [500, 0]);
});

test("a loop that blocks the thread gets the newest of what has piled up", async (context) => {
  const flood = new Worker(new URL("flood.mjs", import.meta.url));
  context.after(() => flood.terminate());
  const [address] = await once(flood, "message");
  const live = connect({}, address);
  const loop = live.poses();
  await loop.next();
  const next = loop.next();
  // More than a stream gives in one piece, which is 64 kB: 30 poses of 20 kB.
  const [count, written] = [30, new Int32Array(new SharedArrayBuffer(4))];
  flood.postMessage({ count, written });
  const end = performance.now() + PATIENCE_MS;
  while (Atomics.load(written, 0) < count) assert.ok(performance.now() < end, `${written[0]} poses are written`);
  const { sequence, skipped } = (await next).value;
  assert.deepEqual([sequence, skipped], [count, count - 1]);
});

test("two loops have a count each", async () => {
  const live = connect();
  const [quick, slow] = [live.poses(), live.poses()];
  const both = [quick.next(), slow.next()];
  const reader = await server.reader();
  reader.write(event("pose", pose(1)));
  await Promise.all(both);
  for (const sequence of [2, 3]) {
    reader.write(event("pose", pose(sequence)));
    assert.equal((await quick.next()).value.skipped, 0);
  }
  assert.equal((await slow.next()).value.skipped, 1);
});

test("without poses it is stale, though health arrives, and a late pose is not given as if it were now", async () => {
  const live = connect({ staleAfterMs: 200 });
  const states = told(live, "state");
  const loop = live.poses();
  const reader = await server.reader();
  const first = loop.next();
  reader.write(event("pose", pose(1)));
  await first;
  reader.write(event("pose", pose(2)));
  await until(() => live.pose.sequence === 2, "the second is read");
  reader.write(event("health", health({ camera_state: "lost" })));
  await until(() => live.state === "stale", "stale");
  assert.equal(live.health.camera_state, "lost");
  assert.ok(live.poseAgeMs >= 200);
  const next = loop.next();
  assert.equal(await Promise.race([next, sleep(50)]), undefined, "the second is old by now");
  reader.write(event("pose", pose(3)));
  assert.deepEqual(await next.then(({ value }) => [value.sequence, value.skipped]), [3, 1]);
  assert.deepEqual(states, ["live", "stale", "live"]);
});

test("the pose with which a stream begins is not of now if the daemon's clock has gone on", async () => {
  const live = connect({ staleAfterMs: 2000 });
  const seen = told(live, "pose");
  const reader = await server.reader();
  reader.write(event("health", health({ publish_ns: pose(1).publish_ns + 10e9, camera_state: "lost" })));
  reader.write(event("pose", pose(1)));
  await until(() => live.health, "health");
  await sleep(100);
  assert.deepEqual([seen.length, live.pose, live.state], [0, null, "connecting"]);
  reader.write(event("pose", pose(400)));
  await until(() => seen.length === 1, "a pose of now");
  assert.deepEqual([seen[0].sequence, seen[0].skipped], [400, 0]);
});

test("a connection on which nothing comes is opened again", async () => {
  const live = connect({ silentAfterMs: 150 });
  const states = told(live, "state");
  await server.reader(2);
  assert.match(live.error?.message ?? "nothing for 0.15 s", /nothing for 0.15 s/);
  assert.ok(states.includes("lost"));
  // A comment is enough to keep it.
  const { length } = server.asked;
  const reader = server.readers.at(-1);
  for (let i = 0; i < 10; i += 1) {
    reader.write(":\n\n");
    await sleep(50);
  }
  assert.equal(server.asked.length, length);
});

test("an event without end is given up", async () => {
  const live = connect({ silentAfterMs: 20_000 });
  const errors = [];
  live.addEventListener("state", () => live.error && errors.push(live.error.message));
  const reader = await server.reader();
  reader.write("data: ");
  for (let i = 0; i < 20; i += 1) reader.write("x".repeat(100_000));
  await server.reader(2);
  assert.match(errors[0], /longer than 1048576 characters/);
});

test("close, a signal and the end of a loop close the connection", async () => {
  const stop = new AbortController();
  const [closed, aborted] = [connect(), connect({ signal: stop.signal })];
  const ends = [closed, aborted].map((live) => live.poses().next());
  await server.reader(2);
  const gone = server.readers.map((reader) => new Promise((done) => reader.on("close", done)));
  closed.close();
  stop.abort();
  assert.deepEqual((await Promise.all(ends)).map(({ done }) => done), [true, true]);
  await Promise.all(gone);
  assert.deepEqual([closed.state, aborted.state, closed.error], ["closed", "closed", null]);
  assert.equal(connect({ signal: stop.signal }).state, "closed");

  const loop = poses(server.url, QUICK);
  const next = loop.next();
  const reader = await server.reader(3);
  const left = new Promise((done) => reader.on("close", done));
  reader.write(event("pose", pose(1)));
  await next;
  await loop.return();
  await left;
});

test("what is no address is an error at once", () => {
  for (const address of ["", "127.0.0.1", "ftp://127.0.0.1", "/live"]) {
    assert.throws(() => new Live(address), { name: "TypeError", message: /expected an address such as http/ }, address);
  }
});
