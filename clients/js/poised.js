// Live 3D poses of poised in JavaScript: one ES module for browsers and for Node 20 or later, without dependencies.
// It reads the event stream of the daemon's web view (docs/guide/web.md), whose own page uses it too.
// The types are in poised.d.ts.

/** Joints in the order of `pose/v1` (Human3.6M). */
export const JOINT_NAMES = Object.freeze([
  "pelvis", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "spine", "thorax", "neck",
  "head", "left_shoulder", "left_elbow", "left_wrist", "right_shoulder", "right_elbow", "right_wrist",
]);

/** Parent of each joint; the pelvis is its own. */
export const PARENTS = Object.freeze([0, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15]);

/** The bones: pairs of indices into `JOINT_NAMES`, parent first. */
export const EDGES = Object.freeze(
  PARENTS.flatMap((parent, joint) => (parent === joint ? [] : [Object.freeze([parent, joint])])),
);

/** Keypoints in the order of `pose/v1` (COCO). */
export const KEYPOINT_NAMES = Object.freeze([
  "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
  "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
  "right_ankle",
]);

/** Lines between keypoints: pairs of indices into `KEYPOINT_NAMES`. */
export const KEYPOINT_EDGES = Object.freeze([
  [0, 1], [0, 2], [1, 3], [2, 4], [5, 6], [5, 7], [7, 9], [6, 8], [8, 10], [5, 11], [6, 12], [11, 12], [11, 13],
  [13, 15], [12, 14], [14, 16],
].map((edge) => Object.freeze(edge)));

/** States of a joint, by their number in `pose/v1`. */
export const STATES = Object.freeze(["absent", "measured", "completed"]);

/** The schema of each kind of event; kinds that are not listed are ignored. */
const SCHEMAS = {
  names: "names/v1", health: "health/v1", adaptation: "adaptation/v1", event: "event/v1", pose: "pose/v1",
  repetition: "repetition/v1", guidance: "guidance/v1",
};
/** Kinds of which each message counts; of the others the newest is kept. */
const OCCURRENCES = ["event", "repetition"];

/** Without a pose for so long the state is `stale`, milliseconds. */
const STALE_AFTER_MS = 2000;
/** The daemon sends something at least every 5 s; a connection silent for so long is opened again, milliseconds. */
const SILENT_AFTER_MS = 12000;
/** Pauses before the connection is opened again, milliseconds; the last one is repeated. */
const RETRY_MS = [1000, 2000, 5000, 10000];
/** Each pause is up to this share longer or shorter, so that many readers do not return at the same moment. */
const RETRY_JITTER = 0.2;
/** Longest event, characters. Eight people with everything at its longest are below 40,000. */
const EVENT_LENGTH_MAX = 1 << 20;
/** Answers 400 to 499 that may be different the next time: time-out, too early, too many requests. */
const TEMPORARY = [408, 425, 429];

const REASONS = {
  401: "the token is missing or wrong; pass that of [web] as `token`",
  403: "a page of another origin may not read it; serve page and daemon from one origin (clients/js/README.md)",
  404: "no event stream here; the address must be that of the daemon's web view",
  421: "the daemon does not answer to this host name; add it to [web] hosts",
  503: "as many readers as the daemon serves at once",
};

/** A message that is not of its schema. It is passed over. */
export class MessageError extends Error {
  name = "MessageError";
}

/** Why there is no connection. `status` is the HTTP status, if there was an answer. */
export class LiveError extends Error {
  name = "LiveError";
  constructor(message, { status = null, refused = false, cause } = {}) {
    super(message, { cause });
    this.status = status;
    /** Whether trying again is of no use. */
    this.refused = refused;
  }
}

// ---- messages -------------------------------------------------------------------------------------------------------

function expect(fits, what, value, want) {
  if (!fits) throw new MessageError(`${what} is ${String(JSON.stringify(value)).slice(0, 60)}, expected ${want}`);
}

const isNumber = (value) => typeof value === "number";
const isPoint = (value) => Array.isArray(value) && value.length === 3 && value.every(isNumber);

function list(value, what, length) {
  expect(Array.isArray(value) && value.length === length, what, value, `a list of ${length}`);
  return value;
}

/** A person: the keys of the message, and its joints and keypoints by name. */
class Person {
  constructor(message) {
    expect(Number.isInteger(message?.id), "id of a person", message?.id, "an integer");
    Object.assign(this, message);
    const of = (key) => `${key} of person ${message.id}`;
    const states = list(message.states, of("states"), JOINT_NAMES.length);
    const places = list(message.joints_m, of("joints_m"), JOINT_NAMES.length);
    const sigmas = list(message.sigmas_m, of("sigmas_m"), JOINT_NAMES.length);
    const keypoints = list(message.keypoints_px, of("keypoints_px"), KEYPOINT_NAMES.length);
    // Daemons before 2026-12-01 publish one number for both.
    const visibilities = list(message.visibilities ?? keypoints.map((place) => place?.[2]), of("visibilities"),
      KEYPOINT_NAMES.length);
    expect(message.root_m === null || isPoint(message.root_m), of("root_m"), message.root_m, "three numbers or null");
    this.joints = JOINT_NAMES.map((name, i) => {
      const [state, place_m, sigma_m] = [STATES[states[i]], places[i], sigmas[i]];
      expect(state, of(`state of ${name}`), states[i], "0, 1 or 2");
      const absent = state === "absent";
      expect(absent ? place_m === null : isPoint(place_m), of(`position of ${name}, ${state},`), place_m,
        absent ? "null" : "three numbers");
      expect(absent ? sigma_m === null : isNumber(sigma_m), of(`sigma of ${name}, ${state},`), sigma_m,
        absent ? "null" : "a number");
      return { name, state, place_m, sigma_m };
    });
    this.keypoints = KEYPOINT_NAMES.map((name, i) => {
      expect(isPoint(keypoints[i]), of(name), keypoints[i], "three numbers");
      const [x_px, y_px, confidence] = keypoints[i];
      expect(isNumber(visibilities[i]), of(`visibility of ${name}`), visibilities[i], "a number");
      return { name, x_px, y_px, confidence, visibility: visibilities[i] };
    });
  }

  /** The joint of this name; RangeError if there is none. */
  joint(name) {
    const joint = this.joints[JOINT_NAMES.indexOf(name)];
    if (!joint) throw new RangeError(`no joint is named "${name}"; see JOINT_NAMES`);
    return joint;
  }
}

/**
 * The pose in a decoded `pose/v1` message: all its keys, with people's joints and keypoints by name.
 * @throws {MessageError} if it is not of this schema
 */
export function parse(message) {
  expect(message?.schema === SCHEMAS.pose, "schema", message?.schema, SCHEMAS.pose);
  for (const key of ["sequence", "publish_ns", "capture_ns"]) {
    expect(isNumber(message[key]), key, message[key], "a number");
  }
  list(message.image_px, "image_px", 2);
  expect(Array.isArray(message.persons), "persons", message.persons, "a list");
  return { ...message, persons: message.persons.map((person) => new Person(person)), skipped: 0 };
}

/** Server-sent events out of the bytes of a stream, whatever their pieces. */
class EventParser {
  #decoder = new TextDecoder();
  #rest = "";
  #kind = "";
  #data = [];
  #length = 0;

  /** The events that are complete with these bytes: pairs of kind and data. */
  push(bytes) {
    const text = this.#rest + this.#decoder.decode(bytes, { stream: true });
    // A carriage return at the end may be the first half of a line's end.
    const end = text.endsWith("\r") ? text.length - 1 : text.length;
    const lines = text.slice(0, end).split(/\r\n|\r|\n/);
    this.#rest = lines.pop() + text.slice(end);
    const events = lines.map((line) => this.#line(line)).filter(Boolean);
    if (this.#rest.length + this.#length > EVENT_LENGTH_MAX) {
      throw new LiveError(`an event is longer than ${EVENT_LENGTH_MAX} characters`);
    }
    return events;
  }

  /** Takes a line; gives an event if the line ends one. */
  #line(line) {
    if (line === "") {
      const event = this.#data.length > 0 ? [this.#kind || "message", this.#data.join("\n")] : null;
      [this.#kind, this.#data, this.#length] = ["", [], 0];
      return event;
    }
    const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line);
    if (field === "event") this.#kind = value;
    if (field === "data") {
      this.#data.push(value);
      this.#length += value.length;
    }
    return null;
  }
}

// ---- connection -----------------------------------------------------------------------------------------------------

/** The address of the event stream, and the token behind `#`, as the page's address has it. */
function resolve(address) {
  let url;
  try {
    url = new URL(address, globalThis.location?.href);
  } catch {
    url = null;
  }
  if (!url || !["http:", "https:"].includes(url.protocol)) {
    const want = "an address such as http://127.0.0.1:8080, or in a page a path of its own server";
    // Without a token or a password that it may hold.
    const shown = String(address).split("#")[0].replace(/\/\/[^/]*@/, "//");
    throw new TypeError(`address is "${shown}", expected ${want}`);
  }
  const token = new URLSearchParams(url.hash.slice(1)).get("token");
  if (!url.pathname.endsWith("/")) url.pathname += "/";
  return { url: new URL("live", url), token };
}

/**
 * A connection to one daemon, which is opened again whenever it is lost.
 *
 * Events, with the message in `detail`: `pose`, `health`, `adaptation`, `event`, `repetition`, `names`; `guidance` of
 * `poised calibrate --web`; `state` with the new state; `fault` with the `MessageError` of a message that was passed over.
 */
export class Live extends EventTarget {
  /** The newest pose, health, adaptation and names messages; null before the first. */
  pose = null;
  health = null;
  adaptation = null;
  names = null;
  /** The newest guidance of a calibration; null of a daemon. */
  guidance = null;
  /** Why there is no connection; null while there is one. */
  error = null;
  /** Messages passed over because they were not of their schema. */
  faults = 0;

  #url;
  #headers;
  #options;
  #closing = new AbortController();
  #ended = false;
  #told = "connecting";
  #staleTimer;
  #wakeTimer;
  /** When the connection was opened and when its newest pose came, milliseconds; null for not. */
  #openedAt = null;
  #poseAt = null;
  /** The daemon's number of the newest pose, and its newest health message; null before the first of a connection. */
  #sequence = null;
  #beat = null;
  /** Poses published so far, as far as this reader can tell. */
  #published = 0;
  /** Iterators that wait for a pose. */
  #waiting = [];

  constructor(address = "./", options = {}) {
    super();
    const { url, token } = resolve(address);
    this.#url = url;
    this.#options = {
      staleAfterMs: STALE_AFTER_MS, silentAfterMs: SILENT_AFTER_MS, retryMs: RETRY_MS,
      fetch: (...request) => globalThis.fetch(...request), ...options,
    };
    const secret = options.token ?? token;
    this.#headers = { Accept: "text/event-stream", ...(secret ? { Authorization: `Bearer ${secret}` } : {}) };
    const { signal } = options;
    if (signal?.aborted) this.close();
    signal?.addEventListener("abort", () => this.close(), { once: true });
    this.#run();
  }

  /**
   * `connecting`; `live`: poses arrive; `stale`: connected, but no pose for `staleAfterMs` (`health` says why);
   * `lost`: no connection, it is being tried again (`error` says why); `refused`: the daemon refuses for good;
   * `closed`.
   */
  get state() {
    if (this.#ended) return this.error ? "refused" : "closed";
    if (this.#openedAt === null) return this.error ? "lost" : "connecting";
    const fresh = performance.now() - (this.#poseAt ?? this.#openedAt) < this.#options.staleAfterMs;
    if (!fresh) return "stale";
    return this.#poseAt === null ? "connecting" : "live";
  }

  /** Milliseconds since the newest pose came; Infinity without one. */
  get poseAgeMs() {
    return this.#poseAt === null ? Infinity : performance.now() - this.#poseAt;
  }

  /**
   * The poses from now on; the newest wins. A loop that is too slow misses those in between: `skipped` counts the
   * poses published since the loop's last one that it did not get. Ends with `close()`, and throws the `LiveError` if
   * the daemon refuses.
   */
  async *poses() {
    let seen = this.#published;
    let first = true;
    for (;;) {
      // A pose that became stale while the loop was busy is not given as if it were now.
      while (this.#published === seen || this.state !== "live") {
        if (this.#ended && this.error) throw this.error;
        if (this.#ended) return;
        await new Promise((wake) => this.#waiting.push(wake));
      }
      const skipped = first ? 0 : this.#published - seen - 1;
      [seen, first] = [this.#published, false];
      yield { ...this.pose, skipped };
    }
  }

  /** Closes the connection for good; loops over `poses()` end. */
  close() {
    this.#end(null);
  }

  #end(error) {
    if (this.#ended) return;
    [this.#ended, this.error] = [true, error];
    this.#closing.abort();
    clearTimeout(this.#staleTimer);
    this.#wake();
    this.#tell();
  }

  /** Connects again and again. Never throws. */
  async #run() {
    const { retryMs } = this.#options;
    for (let tries = 0; !this.#ended; tries += 1) {
      try {
        await this.#read(() => { tries = 0; });
      } catch (error) {
        if (this.#ended) return;
        this.error = error;
      }
      this.#openedAt = this.#poseAt = null;
      if (this.error.refused) return this.#end(this.error);
      this.#tell();
      const pause = retryMs[Math.min(tries, retryMs.length - 1)];
      await this.#pause(pause * (1 + RETRY_JITTER * (2 * Math.random() - 1)));
    }
  }

  #pause(milliseconds) {
    const { signal } = this.#closing;
    return new Promise((done) => {
      const end = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", end);
        done();
      };
      const timer = setTimeout(end, milliseconds);
      signal.addEventListener("abort", end);
    });
  }

  /** One connection, from its start to its end, which is always an error. `reset` is called with each event. */
  async #read(reset) {
    const attempt = new AbortController();
    const stop = () => attempt.abort();
    this.#closing.signal.addEventListener("abort", stop);
    let watchdog;
    let silent = false;
    const alive = () => {
      clearTimeout(watchdog);
      watchdog = setTimeout(() => { silent = true; attempt.abort(); }, this.#options.silentAfterMs);
    };
    try {
      alive();
      const reader = await this.#open(attempt.signal);
      const parser = new EventParser();
      for (;;) {
        const { value, done } = await reader.read();
        if (done) throw new LiveError("the daemon ended the connection");
        alive();
        const events = parser.push(value);
        if (events.length > 0) reset();
        this.#receive(events);
      }
    } catch (error) {
      if (error instanceof LiveError) throw error;
      const why = silent ? `nothing for ${this.#options.silentAfterMs / 1000} s` : "no answer";
      throw new LiveError(`${this.#url.origin}: ${why}${silent ? "" : this.#foreign()}`, { cause: error });
    } finally {
      clearTimeout(watchdog);
      this.#closing.signal.removeEventListener("abort", stop);
      attempt.abort();
    }
  }

  async #open(signal) {
    const { fetch } = this.#options;
    const response = await fetch(this.#url, { headers: this.#headers, signal, cache: "no-store" });
    const { status } = response;
    if (!response.ok) {
      const refused = status >= 400 && status < 500 && !TEMPORARY.includes(status);
      const reason = REASONS[status] ?? response.statusText;
      throw new LiveError(`${this.#url.origin} answers ${status}: ${reason}`, { status, refused });
    }
    const kind = response.headers.get("content-type") ?? "nothing";
    if (!kind.startsWith("text/event-stream")) {
      throw new LiveError(`${this.#url.href} answers ${kind}: ${REASONS[404]}`, { status, refused: true });
    }
    this.error = null;
    this.#openedAt = performance.now();
    this.#sequence = this.#beat = null;
    this.#watchPoses();
    this.#tell();
    return response.body.getReader();
  }

  /** What a browser does not tell: it hides why another origin cannot be read. */
  #foreign() {
    const own = globalThis.location?.origin;
    const foreign = own !== undefined && own !== this.#url.origin;
    return foreign ? ` (or refused, since this page's origin is ${own}: ${REASONS[403]})` : "";
  }

  /** Takes all events that came at once; of several poses only the newest. */
  #receive(events) {
    const newest = events.findLast(([kind]) => kind === "pose");
    for (const [kind, data] of events) if (kind !== "pose") this.#take(kind, data);
    if (newest) this.#take(...newest);
  }

  #take(kind, data) {
    if (this.#ended || !Object.hasOwn(SCHEMAS, kind)) return;
    let message;
    try {
      message = JSON.parse(data);
      if (kind === "pose") message = parse(message);
      else expect(message?.schema === SCHEMAS[kind], `schema of ${kind}`, message?.schema, SCHEMAS[kind]);
    } catch (error) {
      this.faults += 1;
      const fault = error instanceof MessageError ? error : new MessageError(`${kind}: no JSON: ${error.message}`);
      this.dispatchEvent(new CustomEvent("fault", { detail: fault }));
      return;
    }
    if (kind === "pose") {
      if (!this.#takePose(message)) return;
    } else if (!OCCURRENCES.includes(kind)) {
      this[kind] = message;
    }
    if (kind === "health") this.#beat = message;
    this.dispatchEvent(new CustomEvent(kind, { detail: message }));
  }

  /** Whether the pose is of now. The first one after connecting is the last that was read, however long ago. */
  #takePose(pose) {
    const beat = this.#beat?.clock === pose.clock ? this.#beat.publish_ns : 0;
    if (beat - pose.publish_ns > this.#options.staleAfterMs * 1e6) return false;
    const more = this.#sequence === null ? 1 : Math.max(1, pose.sequence - this.#sequence);
    pose.skipped = more - 1;
    this.#sequence = pose.sequence;
    this.#published += more;
    this.pose = pose;
    this.#poseAt = performance.now();
    this.#wakeWhenIdle(2);
    this.#watchPoses();
    this.#tell();
    return true;
  }

  /**
   * Wakes loops once nothing more is there to be read, so that they get the newest of what has piled up. Two turns: an
   * event loop runs timers that are due before it reads again.
   */
  #wakeWhenIdle(turns) {
    clearTimeout(this.#wakeTimer);
    this.#wakeTimer = setTimeout(() => (turns > 1 ? this.#wakeWhenIdle(turns - 1) : this.#wake()), 0);
  }

  #wake() {
    clearTimeout(this.#wakeTimer);
    for (const wake of this.#waiting.splice(0)) wake();
  }

  /** Tells when no pose comes in time. */
  #watchPoses() {
    clearTimeout(this.#staleTimer);
    this.#staleTimer = setTimeout(() => this.#tell(), this.#options.staleAfterMs + 1);
  }

  #tell() {
    const { state } = this;
    if (state === this.#told) return;
    this.#told = state;
    this.dispatchEvent(new CustomEvent("state", { detail: state }));
  }
}

/** The poses of a daemon until the loop ends, which closes the connection. See `Live` and its `poses()`. */
export async function* poses(address, options) {
  const live = new Live(address, options);
  try {
    yield* live.poses();
  } finally {
    live.close();
  }
}
