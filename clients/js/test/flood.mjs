// A server on a thread of its own, which goes on while the thread of the test is blocked.

import { parentPort } from "node:worker_threads";
import { Server, event, person, pose } from "./server.mjs";

const server = await new Server().start();
parentPort.postMessage(server.url);
const reader = await server.reader();
reader.write(event("pose", pose(0)));
const persons = Array.from({ length: 8 }, (_, id) => person(id));
parentPort.once("message", ({ count, written }) => {
  for (let sequence = 1; sequence <= count; sequence += 1) {
    // Counted when the system has it.
    reader.write(event("pose", pose(sequence, { persons })), () => Atomics.add(written, 0, 1));
  }
});
