// A server of event streams for the tests, on a real socket, which does what it is told.

import { createServer } from "node:http";
import { JOINT_NAMES, KEYPOINT_NAMES } from "../poised.js";

/** A person as in `pose/v1`: the last joint is absent, the one before it completed. */
export function person(id, more = {}) {
  const count = JOINT_NAMES.length;
  const at = (i, last, value) => (i === count - 1 ? last : value);
  return {
    id, score: 0.9, box_px: [10, 20, 30, 40], root_m: [0, 0.25, 3], root_sigma_m: 0.06,
    joints_m: JOINT_NAMES.map((_, i) => at(i, null, [0.1, 0.2, 3])),
    sigmas_m: JOINT_NAMES.map((_, i) => at(i, null, 0.015)),
    states: JOINT_NAMES.map((_, i) => at(i, 0, i === count - 2 ? 2 : 1)),
    keypoints_px: KEYPOINT_NAMES.map((_, i) => [i, 2 * i, 0.9]),
    action: null, size: { factor: 1, sigma: 0.1, source: "guess" }, head: { generation: 0, adapted: false },
    ...more,
  };
}

export function pose(sequence, more = {}) {
  const publish_ns = 5e12 + sequence * 33e6;
  return {
    schema: "pose/v1", sequence, camera: "front", frame_id: "front_optical_frame", clock: "monotonic",
    capture_ns: publish_ns - 20e6, publish_ns, capture_unix_ns: 1.79e18, unix_offset_ns: 1.79e18, age_ms: 20,
    frame_sequence: sequence, image_px: [640, 480], persons: [person(7)], ...more,
  };
}

export const health = (more = {}) => ({
  schema: "health/v1", sequence: 0, camera: "front", clock: "monotonic", publish_ns: 5e12, camera_state: "running", ...more,
});

export const event = (kind, message) => `event: ${kind}\ndata: ${JSON.stringify(message)}\n\n`;

/** Serves `answer(request, response)`; each connection's response is in `readers`, oldest first. */
export class Server {
  readers = [];
  asked = [];
  #http;

  /** Where each stream begins; the test goes on in `readers`. */
  answer = (request, response) => {
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    response.flushHeaders();
    this.readers.push(response);
  };

  async start(port = 0) {
    this.#http = createServer((request, response) => {
      this.asked.push({ url: request.url, headers: request.headers, at: performance.now() });
      this.answer(request, response);
    });
    await new Promise((done) => this.#http.listen(port, "127.0.0.1", done));
    this.port = this.#http.address().port;
    this.url = `http://127.0.0.1:${this.port}`;
    return this;
  }

  async stop() {
    this.#http.closeAllConnections();
    await new Promise((done) => this.#http.close(done));
    this.readers = [];
  }

  /** The next reader; waits until one connects. */
  async reader(count = 1) {
    await until(() => this.readers.length >= count, `reader ${count} connects`);
    return this.readers[count - 1];
  }
}

/** Longest wait of a test: far more than anything here takes, since the machine may be busy. */
export const PATIENCE_MS = 20_000;

export async function until(done, what) {
  const end = performance.now() + PATIENCE_MS;
  while (!done()) {
    if (performance.now() > end) throw new Error(`not within ${PATIENCE_MS} ms: ${what}`);
    await sleep(5);
  }
}

export const sleep = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
