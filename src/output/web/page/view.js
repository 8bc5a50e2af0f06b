// The page of the web view: draws the messages of /live. No library, no build; see docs/guide/web.md.
// Everything that comes in messages is put into the page as text (textContent, fillText), never as markup.

import { JOINT_NAMES, KEYPOINT_EDGES, Live, PARENTS, STATES } from "/poised.js";

const ANKLES = [3, 6];
const [ABSENT, MEASURED, COMPLETED] = [0, 1, 2];
/** Keypoints below this visibility count as not seen (pose::VISIBILITY_GATE). */
const VISIBILITY_GATE = 0.2;
/** A daemon that refused is asked again after so long, milliseconds: it may have been restarted with another token. */
const ASK_AGAIN_MS = 10000;
/** Time between two updates of texts, which cannot be read faster, milliseconds. */
const TEXT_EVERY_MS = 250;
/** Time between two drawings where less motion is wanted, milliseconds. */
const CALM_EVERY_MS = 500;
const COVERAGE_S = 180;
const EVENTS_SHOWN = 8;
/** People whose repetitions are shown, those who moved last. */
const EXERCISING_SHOWN = 8;
/** Characters of a label beside a person, in a narrow and in a wide view; the whole is in the person's card. */
const [LABEL_SHORT, LABEL_LONG] = [16, 28];
const TAG_HEIGHT = 18;
/** People are in view from the usual distance if they are this near to their middle, metres; beyond, it grows. */
const SPREAD_FREE_M = 0.9;
const SPREAD_SHARE = 1.6;
/** Standard deviation that fills a bar of a person's joints, metres. */
const SIGMA_FULL_M = 0.15;

const byId = (id) => document.getElementById(id);
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const dark = matchMedia("(prefers-color-scheme: dark)");

/** The connection, the pose that is shown, and how many came. */
const now = { live: null, shown: null, paused: false, count: 0 };
const view = { yaw: -0.5, pitch: 0.25, distance: 3.2, spread: 0, target: [0, 0.2, 3], floor: null };
const HOME = { yaw: view.yaw, pitch: view.pitch, distance: view.distance };

// ---- messages -------------------------------------------------------------------------------------------------------

/** The token stands in the address behind `#`, which no server sees; it is kept for this tab only. */
function token() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem("token", given);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem("token");
}

/** Connects; again with another token, and after a refusal. */
function listen() {
  clearTimeout(now.askAgain);
  const [live, before] = [new Live(location.origin, { token: token() }), now.live];
  now.live = live;
  before?.close();
  live.addEventListener("pose", ({ detail: pose }) => {
    now.count += 1;
    document.body.dataset.poses = now.count;
    cover(pose);
    draw();
  });
  live.addEventListener("event", ({ detail: message }) => addEvent(message));
  live.addEventListener("guidance", () => draw());
  live.addEventListener("repetition", ({ detail: message }) => addRepetition(message));
  live.addEventListener("state", () => {
    const form = byId("token");
    const wanted = live.error?.status === 401;
    const isNew = wanted && form.hidden;
    form.hidden = !wanted;
    if (isNew) byId("token-field").focus();
    if (live.state === "refused") now.askAgain = setTimeout(listen, ASK_AGAIN_MS);
    draw();
  });
}

// ---- drawing --------------------------------------------------------------------------------------------------------

let colours = {};
function readColours() {
  const style = getComputedStyle(document.documentElement);
  const names = ["back", "card", "line", "grid", "text", "soft", "measured", "completed", "absent", "bad", "good"];
  for (const name of names) colours[name] = style.getPropertyValue(`--${name}`).trim();
  colours.people = Array.from({ length: 8 }, (_, i) => style.getPropertyValue(`--p${i}`).trim());
}

/** Number of each person's colour: as many as there may be people, so that no two have the same one. */
const slots = new Map();
function giveColours(persons) {
  for (const id of slots.keys()) if (!persons.some((person) => person.id === id)) slots.delete(id);
  const free = [0, 1, 2, 3, 4, 5, 6, 7].filter((slot) => ![...slots.values()].includes(slot));
  for (const { id } of persons) {
    if (slots.has(id) || free.length === 0) continue;
    const own = Math.max(0, free.indexOf(id % 8));
    slots.set(id, free.splice(own, 1)[0]);
  }
}
const slotOf = (person) => slots.get(person.id) ?? person.id % 8;
const colourOf = (person) => colours.people[slotOf(person)];

/** A canvas's context in units of CSS pixels, cleared, and its size. */
function begin(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = "13px system-ui, sans-serif";
  context.lineCap = "round";
  return [context, width, height];
}

function line(context, from, to, colour, width, dashed) {
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.setLineDash(dashed ? [width + 1, 2 * width + 1] : []);
  context.beginPath();
  context.moveTo(from[0], from[1]);
  context.lineTo(to[0], to[1]);
  context.stroke();
  context.setLineDash([]);
}

function dot(context, at, radius, colour, hollow) {
  context.beginPath();
  context.arc(at[0], at[1], radius, 0, 2 * Math.PI);
  context.fillStyle = hollow ? colours.card : colour;
  context.fill();
  if (hollow) {
    context.strokeStyle = colour;
    context.lineWidth = 2;
    context.stroke();
  }
}

/** A person's title on a strip of the background's colour: inside the canvas, and above those that are there already. */
function tag(context, person, x, y, width, placed) {
  const label = person.action ? ` ${person.action.label}` : "";
  const most = width < 480 ? LABEL_SHORT : LABEL_LONG;
  const text = `#${person.id}${label.length > most ? `${label.slice(0, most - 1)}…` : label}`;
  const length = context.measureText(text).width + 6;
  const left = Math.max(2, Math.min(x, width - length - 2));
  const meets = (top) => placed.some((other) =>
    left < other.right && other.left < left + length && Math.abs(top - other.top) < TAG_HEIGHT);
  let top = Math.max(2, y);
  while (meets(top) && top > TAG_HEIGHT) top -= TAG_HEIGHT;
  placed.push({ left, right: left + length, top });
  context.globalAlpha = 0.85;
  context.fillStyle = colours.card;
  context.fillRect(left, top, length, TAG_HEIGHT);
  context.globalAlpha = 1;
  context.fillStyle = colourOf(person);
  context.fillText(text, left + 3, top + 13);
}

const percent = (share) => `${Math.round(100 * share)}\u00a0%`;
function notice(context, text, width, height) {
  context.fillStyle = colours.soft;
  context.textAlign = "center";
  context.fillText(text, width / 2, height / 2, width - 16);
  context.textAlign = "left";
}

/** What to show in place of a pose that is missing or too old; null for a current one. */
function staleness() {
  if (now.paused && now.shown) return null;
  const { state, poseAgeMs } = now.live;
  if (state === "live") return null;
  if (state === "lost" || state === "refused") return "no connection";
  return poseAgeMs === Infinity ? "waiting for the first pose" : `no new pose for ${Math.round(poseAgeMs / 1000)} s`;
}

function drawImage() {
  const canvas = byId("image");
  const pose = now.shown;
  if (pose) {
    const [w, h] = pose.image_px;
    canvas.style.aspectRatio = `${w} / ${h}`;
  }
  const [context, width, height] = begin(canvas);
  context.strokeStyle = colours.line;
  context.lineWidth = 2;
  context.strokeRect(1, 1, width - 2, height - 2);
  const old = staleness();
  if (old) return notice(context, old, width, height);
  const scale = Math.min(width / pose.image_px[0], height / pose.image_px[1]);
  const at = ([x, y]) => [(x + 0.5) * scale, (y + 0.5) * scale];
  const placed = [];
  for (const person of pose.persons) {
    const colour = colourOf(person);
    const [left, top, right, bottom] = person.box_px.map((edge) => edge * scale);
    context.globalAlpha = 0.5;
    context.strokeStyle = colour;
    context.lineWidth = 1;
    context.strokeRect(left, top, right - left, bottom - top);
    const points = person.keypoints_px;
    const seen = person.visibilities.map((visibility) => visibility >= VISIBILITY_GATE);
    for (const [a, b] of KEYPOINT_EDGES) {
      if (!seen[a] || !seen[b]) continue;
      context.globalAlpha = Math.max(0.25, Math.min(points[a][2], points[b][2]));
      line(context, at(points[a]), at(points[b]), colour, 3, false);
    }
    for (const point of points.filter((_, i) => seen[i])) {
      context.globalAlpha = Math.max(0.35, point[2]);
      dot(context, at(point), 3.5, colour, false);
    }
    context.globalAlpha = 1;
    tag(context, person, left, top - 20, width, placed);
  }
}

/** Camera frame (x right, y down, z forward, metres) to the canvas: place, and pixels a metre there. */
function projector(width, height) {
  const [cy, sy, cp, sp] = [Math.cos(view.yaw), Math.sin(view.yaw), Math.cos(view.pitch), Math.sin(view.pitch)];
  const focal = 1.1 * Math.min(width, height);
  return (point) => {
    const [x, y, z] = point.map((value, axis) => value - view.target[axis]);
    const [u, w] = [cy * x + sy * z, cy * z - sy * x];
    const [v, depth] = [cp * y - sp * w, cp * w + sp * y + view.distance + view.spread];
    if (depth < 0.15) return null;
    const scale = focal / depth;
    return [width / 2 + u * scale, height / 2 + v * scale, scale, depth];
  };
}

/** Looks at the middle of the people, and lays the grid under their feet; slowly, so that steps do not shake it. */
function follow(persons) {
  const roots = persons.map((person) => person.root_m).filter(Boolean);
  if (roots.length === 0) return;
  const share = view.floor === null ? 1 : 0.05;
  for (const axis of [0, 1, 2]) {
    const mean = roots.reduce((sum, root) => sum + root[axis], 0) / roots.length;
    view.target[axis] += share * (mean - view.target[axis]);
  }
  // Farther away for people who are far apart, so that all are in view.
  const spread = Math.max(...roots.map((root) => Math.hypot(root[0] - view.target[0], root[2] - view.target[2])));
  view.spread += share * (Math.max(0, SPREAD_SHARE * (spread - SPREAD_FREE_M)) - view.spread);
  const ankles = persons.flatMap((person) => ANKLES.map((joint) => person.joints_m[joint])).filter(Boolean);
  if (ankles.length > 0) {
    const lowest = Math.max(...ankles.map((ankle) => ankle[1]));
    view.floor = view.floor === null ? lowest : view.floor + share * (lowest - view.floor);
  }
}

function drawGrid(context, project) {
  const y = view.floor ?? 1;
  const [x0, z0] = [Math.round(view.target[0]), Math.round(view.target[2])];
  const segment = (a, b) => {
    const [from, to] = [project(a), project(b)];
    if (from && to) line(context, from, to, colours.grid, 1, false);
  };
  for (let i = -3; i <= 3; i += 1) {
    for (let j = -3; j < 3; j += 1) {
      segment([x0 + i, y, z0 + j], [x0 + i, y, z0 + j + 1]);
      segment([x0 + j, y, z0 + i], [x0 + j + 1, y, z0 + i]);
    }
  }
}

/** The camera: a small pyramid at the origin that opens towards what it sees. */
function drawCamera(context, project) {
  const corners = [[-0.16, -0.12, 0.25], [0.16, -0.12, 0.25], [0.16, 0.12, 0.25], [-0.16, 0.12, 0.25]];
  const [top, ...ends] = [[0, 0, 0], ...corners].map(project);
  if (!top || ends.some((end) => !end)) return;
  ends.forEach((end, i) => {
    line(context, top, end, colours.soft, 1.5, false);
    line(context, end, ends[(i + 1) % 4], colours.soft, 1.5, false);
  });
  context.fillStyle = colours.soft;
  const end = context.canvas.clientWidth - context.measureText("camera").width - 2;
  context.fillText("camera", Math.min(top[0] + 6, end), top[1] - 6);
}

function drawSpace() {
  const [context, width, height] = begin(byId("space"));
  const old = staleness();
  if (!old) follow(now.shown.persons);
  const project = projector(width, height);
  drawGrid(context, project);
  drawCamera(context, project);
  if (old) return notice(context, old, width, height);
  const depth = (person) => (person.root_m && project(person.root_m)?.[3]) || 0;
  const persons = [...now.shown.persons].sort((a, b) => depth(b) - depth(a));
  const placed = [];
  for (const person of persons) drawBody(context, project, person, width, placed);
}

function drawBody(context, project, person, width, placed) {
  const colour = colourOf(person);
  const places = person.joints_m.map((joint) => joint && project(joint));
  places.forEach((place, joint) => {
    if (!place) return;
    context.globalAlpha = 0.16;
    dot(context, place, Math.max(2, person.sigmas_m[joint] * place[2]), colour, false);
  });
  context.globalAlpha = 1;
  places.forEach((place, joint) => {
    const parent = places[PARENTS[joint]];
    if (!place || !parent || PARENTS[joint] === joint) return;
    const inferred = [joint, PARENTS[joint]].some((end) => person.states[end] === COMPLETED);
    line(context, parent, place, colour, Math.max(1.5, 0.025 * place[2]), inferred);
  });
  places.forEach((place, joint) => {
    if (place) dot(context, place, Math.max(2.5, 0.022 * place[2]), colour, person.states[joint] === COMPLETED);
  });
  const highest = places.filter(Boolean).sort((a, b) => a[1] - b[1])[0];
  if (highest) tag(context, person, highest[0] - 10, highest[1] - 34, width, placed);
}

// ---- coverage -------------------------------------------------------------------------------------------------------

/** One entry a second: when, joints by state, frames, frames with people. */
const seconds = [];

function cover(pose) {
  const second = Math.floor(performance.now() / 1000);
  let entry = seconds.at(-1);
  if (!entry || entry.second !== second) {
    entry = { second, joints: [0, 0, 0], frames: 0, withPeople: 0 };
    seconds.push(entry);
    while (seconds[0].second <= second - COVERAGE_S) seconds.shift();
  }
  entry.frames += 1;
  entry.withPeople += pose.persons.length > 0 ? 1 : 0;
  for (const person of pose.persons) for (const state of person.states) entry.joints[state] += 1;
}

function drawCoverage() {
  const [context, width, height] = begin(byId("coverage"));
  const second = Math.floor(performance.now() / 1000);
  const step = width / COVERAGE_S;
  context.strokeStyle = colours.line;
  context.strokeRect(0.5, 0.5, width - 1, height - 1);
  for (const { second: when, joints } of seconds) {
    const all = joints[0] + joints[1] + joints[2];
    if (all === 0) continue;
    const x = width - (second - when + 1) * step;
    let y = height;
    for (const [state, colour] of [[MEASURED, colours.measured], [COMPLETED, colours.completed]]) {
      const part = (height * joints[state]) / all;
      context.fillStyle = colour;
      // From whole pixel to whole pixel, without seams.
      context.fillRect(Math.floor(x), y - part, Math.floor(x + step) - Math.floor(x), part);
      y -= part;
    }
  }
  context.fillStyle = colours.soft;
  for (const minutes of [1, 2]) {
    const x = width - minutes * 60 * step;
    line(context, [x, 0], [x, height], colours.line, 1, true);
    context.fillStyle = colours.soft;
    context.fillText(`${minutes} min`, x + 4, 14);
  }
  const sum = (of) => seconds.reduce((total, entry) => total + of(entry), 0);
  const states = [ABSENT, MEASURED, COMPLETED].map((state) => sum((entry) => entry.joints[state]));
  const joints = states[0] + states[1] + states[2];
  const frames = sum((entry) => entry.frames);
  const of = (state) => `${STATES[state]} ${percent(states[state] / joints)}`;
  byId("coverage-text").textContent = joints === 0
    ? "No people in the last 3 minutes, or since this page was opened."
    : `Of all joints ${of(MEASURED)}, ${of(COMPLETED)}, ${of(ABSENT)}; ` +
      `people in view ${percent(sum((entry) => entry.withPeople) / frames)} of the time. ` +
      "From the bottom: measured, completed; empty: absent.";
}

// ---- texts ----------------------------------------------------------------------------------------------------------

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

/** Sets a text where it has changed, so that screen readers do not announce the same text again. */
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const metres = (value, digits = 2) => value.toFixed(digits);
const millimetres = (value) => Math.round(1000 * value);

/** Cards of people by id. */
const cards = new Map();

function makeCard(person) {
  const card = element("article", "person");
  const title = element("h3");
  const strip = element("div", "strip");
  strip.setAttribute("role", "img");
  const bars = JOINT_NAMES.map((name) => strip.appendChild(element("span", "", "")));
  const [place, states, sigma, head] = [0, 1, 2, 3].map(() => element("p"));
  const { details, rows } = makeTable("Joints", person, ["joint", "state", "σ mm", "x m", "y m", "z m"], JOINT_NAMES);
  const angles = makeTable("Angles", person, ["angle", "state", "degrees", "σ"], ANGLE_NAMES);
  card.append(title, place, states, strip, sigma, head, details, angles.details);
  return { card, title, place, states, strip, bars, sigma, head, details, rows, angles };
}

/** Joint angles in the order of the message, as `/names` lists them; they are in it with `[publish] angles = true`. */
const ANGLE_NAMES = ["left hip flexion", "right hip flexion", "left hip abduction", "right hip abduction",
  "left knee flexion", "right knee flexion", "left shoulder flexion", "right shoulder flexion",
  "left shoulder abduction", "right shoulder abduction", "left elbow flexion", "right elbow flexion",
  "trunk flexion", "trunk lateral lean", "neck flexion"];

/** A table behind a summary, a row a name: the columns after the name and the state are numbers. */
function makeTable(summary, person, columns, names) {
  const details = element("details");
  details.append(element("summary", "", summary));
  const scroll = details.appendChild(element("div", "scroll"));
  // It can be scrolled with the keys where it is wider than the card.
  scroll.tabIndex = 0;
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", `${summary} of #${person.id}`);
  const table = scroll.appendChild(element("table"));
  const headings = table.appendChild(element("thead")).appendChild(element("tr"));
  columns.forEach((text, i) => {
    headings.appendChild(element("th", i > 1 ? "number" : "", text)).scope = "col";
  });
  const body = table.appendChild(element("tbody"));
  const rows = names.map((name) => {
    const row = body.appendChild(element("tr"));
    row.append(element("td", "", name.replaceAll("_", " ")));
    return columns.slice(1).map((_, i) => row.appendChild(element("td", i > 0 ? "number" : "")));
  });
  return { details, rows };
}

function showAngles({ details, rows }, person) {
  const values = person.angles_deg;
  details.hidden = !values;
  if (!values || !details.open) return;
  rows.forEach((cells, i) => {
    const [deg, sigma] = [values[i], person.angle_sigmas_deg[i]];
    const texts = [STATES[person.angle_states[i]], ...[deg, sigma].map((value) => (value === null ? "" : value.toFixed(0)))];
    texts.forEach((own, j) => setText(cells[j], own));
  });
}

function showPerson(parts, person) {
  parts.card.style.setProperty("--own", `var(--p${slotOf(person)})`);
  const { action } = person;
  const source = action?.source === "hint" ? "hint" : percent(action?.probability ?? 0);
  setText(parts.title, action ? `#${person.id} ${action.label} (${source})` : `#${person.id} unnamed`);
  const place = (root) => `${metres(Math.hypot(...root))} m from the camera, σ ${metres(person.root_sigma_m)} m along the line of sight`;
  setText(parts.place, person.root_m ? place(person.root_m) : "too little in view for a position in space");
  const count = (state) => person.states.filter((own) => own === state).length;
  const text = `${count(MEASURED)} measured, ${count(COMPLETED)} completed, ${count(ABSENT)} absent`;
  setText(parts.states, text);
  parts.strip.setAttribute("aria-label", `Standard deviation of each joint; ${text}`);
  const sigmas = person.sigmas_m.filter((sigma) => sigma !== null).sort((a, b) => a - b);
  setText(parts.sigma, sigmas.length === 0 ? "no joints"
    : `σ of joints: median ${millimetres(sigmas[sigmas.length >> 1])} mm, largest ${millimetres(sigmas.at(-1))} mm`);
  const size = person.size?.source === "floor" ? "size from the floor" : "average size assumed";
  setText(parts.head, person.head.adapted ? `adapted head ${person.head.generation}, ${size}` : `factory head, ${size}`);
  parts.bars.forEach((bar, joint) => {
    const [state, sigma] = [STATES[person.states[joint]], person.sigmas_m[joint]];
    bar.className = state;
    bar.style.height = sigma === null ? "" : `${Math.min(100, (100 * sigma) / SIGMA_FULL_M)}%`;
    bar.title = sigma === null ? `${JOINT_NAMES[joint]}: absent` : `${JOINT_NAMES[joint]}: ${state}, ${millimetres(sigma)} mm`;
  });
  showAngles(parts.angles, person);
  if (!parts.details.open) return;
  parts.rows.forEach((cells, joint) => {
    const place = person.joints_m[joint];
    const numbers = place ? place.map((value) => metres(value)) : ["", "", ""];
    const sigma = person.sigmas_m[joint];
    const texts = [STATES[person.states[joint]], sigma === null ? "" : `${millimetres(sigma)}`, ...numbers];
    texts.forEach((own, i) => setText(cells[i], own));
  });
}

function showPeople(persons) {
  const room = byId("people");
  for (const [id, parts] of cards) {
    if (!persons.some((person) => person.id === id)) {
      parts.card.remove();
      cards.delete(id);
    }
  }
  for (const person of persons) {
    let parts = cards.get(person.id);
    if (!parts) {
      parts = makeCard(person);
      cards.set(person.id, parts);
      room.append(parts.card);
    }
    showPerson(parts, person);
  }
  byId("no-one").hidden = persons.length > 0;
}

/** Rows of a list of terms: text, text, and whether it is bad. */
function showTerms(list, rows) {
  while (list.children.length > 2 * rows.length) list.lastChild.remove();
  rows.forEach(([term, text, bad], i) => {
    while (list.children.length < 2 * (i + 1)) list.append(element(list.children.length % 2 ? "dd" : "dt"));
    setText(list.children[2 * i], term);
    const cell = list.children[2 * i + 1];
    setText(cell, String(text));
    cell.className = bad ? "bad" : "";
  });
}

const number = (value, digits = 1) => (value === null || value === undefined ? "-" : value.toFixed(digits));

function showHealth(health) {
  if (!health) return;
  const drops = Object.entries(health.drops).filter(([, count]) => count > 0);
  const busy = health.load.busy;
  showTerms(byId("health"), [
    ["camera", health.camera_state, health.camera_state !== "running"],
    ["networks", `${health.estimate_state}, ${health.engine}`, health.estimate_state !== "working"],
    ["frames/s", `${number(health.fps.captured)} captured, ${number(health.fps.published)} published`],
    ["latency", health.latency_ms ? `${number(health.latency_ms.p50)} ms, p99 ${number(health.latency_ms.p99)} ms` : "-"],
    ["load", `${percent(busy)}, level ${health.load.level}`, busy > 1],
    ["dropped", drops.length === 0 ? "nothing" : drops.map(([why, count]) => `${why} ${count}`).join(", ")],
    ["late", health.late],
    ["memory", health.rss_bytes === null ? "-" : `${Math.round(health.rss_bytes / 1e6)} MB`],
    ["Zenoh", `${health.peers} sessions`],
    ["running for", duration(health.uptime_s)],
  ]);
}

function duration(seconds) {
  const [days, hours, minutes] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  return days > 0 ? `${days} d ${hours} h` : hours > 0 ? `${hours} h ${minutes} min` : `${minutes} min ${Math.floor(seconds) % 60} s`;
}

function showAdaptation(told) {
  if (!told) return;
  const { newest, decisions } = told;
  showTerms(byId("adaptation"), [
    ["mode", told.mode],
    ["method", told.method],
    ["head in use", told.generation === 0 ? "factory" : `generation ${told.generation}`],
    ["steps", told.steps],
    ["clips", `${told.clips.learned_from} for training, ${told.clips.held_back} held back`],
    ["guard", `${decisions.kept} kept, ${decisions.rest} skipped, ${decisions.refused} rejected`],
    ["rolled back", told.rolled_back],
    ["newest", newest ? `${newest.verdict}: factory ${number(newest.factory_mm)} mm, learned ${number(newest.learned_mm)} mm` : "-"],
  ]);
}

/** Puts an event on top of the list. The stream begins with the last events, also when it is opened again. */
function addEvent(message) {
  const list = byId("events");
  const key = `${message.sequence} ${message.publish_ns}`;
  if ([...list.children].some((other) => other.dataset.key === key)) return;
  const item = element("li");
  item.dataset.key = key;
  const when = new Date(message.unix_ns / 1e6);
  const stamp = element("time", "", when.toLocaleTimeString());
  stamp.dateTime = when.toISOString();
  const name = message.event.replaceAll("_", " ");
  item.append(stamp, element("span", "", message.detail ? `${name}: ${message.detail}` : name));
  list.prepend(item);
  while (list.children.length > EVENTS_SHOWN) list.lastChild.remove();
}

/** Shows a repetition in the row of its person, who comes to the top. Its numbers are those of the daemon. */
function addRepetition(message) {
  const [body, key] = [byId("exercise"), String(message.person)];
  document.querySelector(".exercise").hidden = false;
  const row = [...body.children].find((other) => other.dataset.person === key) ?? element("tr");
  row.dataset.person = key;
  const { depth_deg: depth, depth_sigma_deg: sigma, duration_s: seconds, difference_deg: difference } = message;
  const figures = [
    message.count, message.partials, number(depth, 0), number(sigma, 0), number(seconds), number(difference, 0),
  ];
  const name = element("th", "", key);
  name.scope = "row";
  row.replaceChildren(name, ...figures.map((figure) => element("td", "number", String(figure))));
  body.prepend(row);
  while (body.children.length > EXERCISING_SHOWN) body.lastChild.remove();
  const kind = message.kind === "whole" ? `repetition ${message.count}` : "partial, not counted";
  setText(byId("exercise-title"), `Exercise: ${message.exercise.replaceAll("_", " ")}`);
  setText(byId("exercise-newest"), `Person ${key}: ${kind}, ${number(depth, 0)}\u00b0`);
}

/** Shows what a calibration still needs: where corners were seen, where the board was, and what to do. */
function showGuidance(told) {
  if (!told) return;
  document.body.classList.add("calibrating");
  document.querySelector(".guidance").hidden = false;
  byId("pause").hidden = true;
  const [columns, rows] = told.image_px[0] > 0 ? told.image_px : [4, 3];
  const canvas = byId("guidance");
  canvas.style.aspectRatio = `${columns} / ${rows}`;
  const [context, width, height] = begin(canvas);
  const side = Math.round(Math.sqrt(told.fields.length));
  const [w, h] = [width / side, height / side];
  for (const [at, corners] of told.fields.entries()) {
    const [x, y] = [(at % side) * w, Math.floor(at / side) * h];
    context.globalAlpha = 0.3 * Math.min(1, corners / told.field_corners_wanted);
    context.fillStyle = colours.good;
    context.fillRect(x, y, w, h);
    context.globalAlpha = 1;
    context.strokeStyle = colours.grid;
    context.strokeRect(x, y, w, h);
  }
  for (const [at, outline] of told.outlines.entries()) {
    const newest = at === told.outlines.length - 1;
    const points = outline.map(([x, y]) => [(x * width) / columns, (y * height) / rows]);
    for (const [side, from] of points.entries()) {
      const colour = newest ? colours.text : colours.soft;
      line(context, from, points[(side + 1) % points.length], colour, newest ? 3 : 1);
    }
  }
  const said = byId("guidance-said");
  said.classList.toggle("kept", told.kept || told.done);
  setText(said, told.done ? "Done: put the board down." : told.said);
  setText(byId("guidance-title"), `Calibration: ${told.views} views, ${told.views_wanted} wanted`);
  setText(byId("guidance-missing"), told.missing);
  document.body.dataset.views = told.views;
}

/** Why there is no connection, in a few words. */
function reason({ status }) {
  if (status === null) return "no answer";
  return { 401: "the token is missing or wrong", 503: "too many viewers" }[status] ?? `refused (${status})`;
}

function showStatus() {
  const status = byId("status");
  const { error, health } = now.live;
  const old = staleness();
  const people = now.shown ? now.shown.persons.length : 0;
  const counted = people === 1 ? "1 person" : `${people} people`;
  const lost = health && health.camera_state !== "running" ? `camera ${health.camera_state}` : null;
  // Without the age in seconds, which a screen reader would read each second.
  const trouble = old?.replace(/ for .* s$/, "");
  const { guidance } = now.live;
  const text = error ? `no connection: ${reason(error)}` : guidance ? "calibrating" : now.paused ? "paused" : lost ?? trouble ?? `live, ${counted}`;
  setText(status, text);
  const waiting = now.live.state === "connecting" && !lost;
  status.dataset.state = guidance && !error ? "live" : error || lost || (old && !waiting) ? "trouble" : old ? "" : "live";
  const pose = now.shown;
  setText(byId("camera"), guidance?.source ?? pose?.camera ?? health?.camera ?? "");
  if (pose) {
    setText(byId("figures"), `${number(health?.fps.published)} poses/s, ${Math.round(pose.age_ms)} ms old on arrival`);
    setText(byId("image-size"), `${pose.image_px[0]} x ${pose.image_px[1]} pixels. Keypoints only; images never leave the device.`);
  }
}

// ---- redrawing ------------------------------------------------------------------------------------------------------

let asked = false;
let drawnAt = -Infinity;
let textAt = -Infinity;

function draw() {
  if (asked) return;
  asked = true;
  const wait = calm.matches ? Math.max(0, drawnAt + CALM_EVERY_MS - performance.now()) : 0;
  if (wait > 0) setTimeout(() => requestAnimationFrame(paint), wait);
  else requestAnimationFrame(paint);
}

function paint(time) {
  asked = false;
  drawnAt = time;
  if (!now.paused && now.live.pose) now.shown = now.live.pose;
  if (now.shown) giveColours(now.shown.persons);
  drawImage();
  drawSpace();
  showGuidance(now.live.guidance);
  if (time - textAt < TEXT_EVERY_MS) return;
  textAt = time;
  drawCoverage();
  showStatus();
  showPeople(staleness() || !now.shown ? [] : now.shown.persons);
  showHealth(now.live.health);
  showAdaptation(now.live.adaptation);
}

// ---- input ----------------------------------------------------------------------------------------------------------

function turn(how) {
  const steps = { left: [0.15, 0], right: [-0.15, 0], up: [0, 0.1], down: [0, -0.1] };
  if (how === "reset") Object.assign(view, HOME);
  else if (how === "nearer" || how === "farther") view.distance *= how === "nearer" ? 1 / 1.15 : 1.15;
  else {
    const [yaw, pitch] = steps[how] ?? [0, 0];
    view.yaw += yaw;
    view.pitch += pitch;
  }
  view.pitch = Math.max(-1.5, Math.min(1.5, view.pitch));
  view.distance = Math.max(0.8, Math.min(20, view.distance));
  document.body.dataset.yaw = view.yaw.toFixed(3);
  draw();
}

function turnByHand(canvas) {
  let last = null;
  canvas.addEventListener("pointerdown", (event) => {
    last = [event.clientX, event.clientY];
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!last) return;
    view.yaw -= (event.clientX - last[0]) / 150;
    view.pitch += (event.clientY - last[1]) / 200;
    last = [event.clientX, event.clientY];
    turn("by hand");
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { last = null; });
  canvas.addEventListener("wheel", (event) => {
    // Without the focus the page scrolls as pages do.
    if (document.activeElement !== canvas) return;
    event.preventDefault();
    turn(event.deltaY < 0 ? "nearer" : "farther");
  }, { passive: false });
  const keys = { ArrowLeft: "left", ArrowRight: "right", ArrowUp: "up", ArrowDown: "down", "+": "nearer", "=": "nearer", "-": "farther", 0: "reset" };
  canvas.addEventListener("keydown", (event) => {
    const how = keys[event.key];
    if (!how || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    turn(how);
  });
}

function start() {
  readColours();
  dark.addEventListener("change", () => { readColours(); draw(); });
  turnByHand(byId("space"));
  for (const button of document.querySelectorAll("[data-turn]")) {
    button.addEventListener("click", () => turn(button.dataset.turn));
  }
  const pause = byId("pause");
  pause.addEventListener("click", () => {
    now.paused = !now.paused;
    pause.classList.toggle("on", now.paused);
    setText(pause, now.paused ? "Resume" : "Pause");
    textAt = -Infinity;
    draw();
  });
  byId("token").addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem("token", byId("token-field").value);
    byId("token-field").value = "";
    listen();
  });
  new ResizeObserver(draw).observe(document.body);
  // The age of the newest pose is shown also while no message arrives.
  setInterval(draw, 1000);
  listen();
  draw();
}

start();
