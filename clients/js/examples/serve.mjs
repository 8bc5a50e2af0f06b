// Serves a folder, and the daemon's event stream at /poised/live, from one origin: what a page needs to read poses.
// For development and for a kiosk that is one machine; it listens on the loopback interface only.
//
//   node serve.mjs [FOLDER] [PORT] [DAEMON]     default: this folder's parent, 8081, http://127.0.0.1:8080
//
// POISED_TOKEN: the token of [web], which then stays in this program; any page that it serves can read poses.

import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer, request } from "node:http";
import { extname, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";

const [folder = fileURLToPath(new URL("..", import.meta.url)), port = "8081", daemon = "http://127.0.0.1:8080"] =
  process.argv.slice(2);
const root = resolve(folder);
const live = new URL("/live", daemon);
const token = process.env.POISED_TOKEN;

const TYPES = {
  ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".mjs": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8", ".json": "application/json", ".svg": "image/svg+xml", ".png": "image/png",
};

function end(answer, status, text) {
  if (answer.headersSent) return answer.destroy();
  answer.writeHead(status, { "Content-Type": "text/plain" }).end(`${text}\n`);
}

/** As the daemon does: names that were pointed here, and pages of other sites, read nothing. */
function isForeign({ host, origin, "sec-fetch-site": site }) {
  const hosts = ["localhost", "127.0.0.1"].map((name) => `${name}:${server.address().port}`);
  const foreignOrigin = origin !== undefined && !hosts.some((own) => origin === `http://${own}`);
  return !hosts.includes(host) || foreignOrigin || !["same-origin", "none", undefined].includes(site);
}

/** The daemon's answer, passed on as it comes; a reader that leaves ends the request. */
function passOn(headers, answer) {
  const secret = token ? `Bearer ${token}` : headers.authorization;
  const asked = request(live, { headers: secret ? { Authorization: secret } : {} }, (given) => {
    const { "content-type": kind = "text/plain" } = given.headers;
    answer.writeHead(given.statusCode, { "Content-Type": kind, "Cache-Control": "no-store" });
    given.on("error", () => answer.destroy());
    given.pipe(answer);
  });
  asked.on("error", (error) => end(answer, 502, `no answer from ${live.origin}: ${error.message}`));
  answer.on("close", () => asked.destroy());
  asked.end();
}

async function file(path, answer) {
  const name = resolve(root, `.${decodeURIComponent(path)}`);
  const known = TYPES[extname(name)];
  const inside = name.startsWith(root.endsWith(sep) ? root : root + sep);
  const found = known && inside && (await stat(name).catch(() => null));
  if (!found?.isFile()) return end(answer, 404, "no such file");
  answer.writeHead(200, { "Content-Type": known, "Cache-Control": "no-store" });
  createReadStream(name).on("error", () => answer.destroy()).pipe(answer);
}

const server = createServer((asked, answer) => {
  if (isForeign(asked.headers)) return end(answer, 403, "this page is for its own origin only");
  if (asked.method !== "GET") return end(answer, 405, "GET only");
  const path = asked.url.split("?")[0];
  if (path === "/poised/live") return passOn(asked.headers, answer);
  file(path, answer).catch((error) => end(answer, 400, error.message));
});
server.listen(Number(port), "127.0.0.1", () => {
  console.log(`http://localhost:${server.address().port}/examples/stick-figures.html`);
});
