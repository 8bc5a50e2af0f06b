// Types of poised.js. Keys, units and meanings of messages: docs/reference/messages.md of poised. Lengths are metres in
// the camera's optical frame (x right, y down, z forward), image coordinates pixels, times nanoseconds, which
// JavaScript rounds to 256 ns.

export type JointName =
  | "pelvis" | "right_hip" | "right_knee" | "right_ankle" | "left_hip" | "left_knee" | "left_ankle" | "spine"
  | "thorax" | "neck" | "head" | "left_shoulder" | "left_elbow" | "left_wrist" | "right_shoulder" | "right_elbow"
  | "right_wrist";

export type KeypointName =
  | "nose" | "left_eye" | "right_eye" | "left_ear" | "right_ear" | "left_shoulder" | "right_shoulder"
  | "left_elbow" | "right_elbow" | "left_wrist" | "right_wrist" | "left_hip" | "right_hip" | "left_knee"
  | "right_knee" | "left_ankle" | "right_ankle";

export type State = "absent" | "measured" | "completed";
export type Point = readonly [x: number, y: number, z: number];
export type Edge = readonly [from: number, to: number];

/** Joints in the order of `pose/v1`. */
export const JOINT_NAMES: readonly JointName[];
/** Parent of each joint; the pelvis is its own. */
export const PARENTS: readonly number[];
/** The bones: pairs of indices into `JOINT_NAMES`, parent first. */
export const EDGES: readonly Edge[];
/** Keypoints in the order of `pose/v1`. */
export const KEYPOINT_NAMES: readonly KeypointName[];
/** Lines between keypoints: pairs of indices into `KEYPOINT_NAMES`. */
export const KEYPOINT_EDGES: readonly Edge[];
/** States of a joint, by their number in `pose/v1`. */
export const STATES: readonly State[];

/** A joint. `measured`: visible now; `completed`: occluded, inferred; `absent`: unknown, without position. */
export type Joint =
  | { readonly name: JointName; readonly state: "measured" | "completed"; readonly place_m: Point;
      /** Standard deviation relative to the person's root, per axis. */
      readonly sigma_m: number }
  | { readonly name: JointName; readonly state: "absent"; readonly place_m: null; readonly sigma_m: null };

export interface Keypoint {
  readonly name: KeypointName;
  readonly x_px: number;
  readonly y_px: number;
  /** Probability that it lies within 0.2 torso lengths of the truth, visible or not, 0 to 1. */
  readonly confidence: number;
  /** Probability that the camera sees it, 0 to 1; the confidence where an older daemon does not publish it. */
  readonly visibility: number;
}

export interface Action {
  readonly label: string;
  readonly probability: number;
  readonly source: "dictionary" | "hint";
}

export interface Person {
  /** The same from frame to frame. */
  readonly id: number;
  readonly score: number;
  /** Left, top, right, bottom. */
  readonly box_px: readonly [number, number, number, number];
  /** The pelvis; null where too little of the person is in view for a position in space. */
  readonly root_m: Point | null;
  /** Standard deviation of the root along the line of sight; null where the root is. */
  readonly root_sigma_m: number | null;
  /** In the order of `JOINT_NAMES`. */
  readonly joints: readonly Joint[];
  /** In the order of `KEYPOINT_NAMES`. */
  readonly keypoints: readonly Keypoint[];
  readonly action: Action | null;
  /** Missing from older daemons. */
  /** Joint angles in degrees, null where absent, in the order of `/names`; only with `[publish] angles = true`. */
  readonly angles_deg?: readonly (number | null)[];
  /** Standard deviation of each angle, degrees. */
  readonly angle_sigmas_deg?: readonly (number | null)[];
  /** State of each angle, as of joints. */
  readonly angle_states?: readonly number[];
  readonly size?: { readonly factor: number; readonly sigma: number; readonly source: "guess" | "floor" };
  readonly head: { readonly generation: number; readonly adapted: boolean };
  /** As in the message: `STATES[states[i]]`, `joints_m[i]`, `sigmas_m[i]` are those of joint `i`. */
  readonly states: readonly number[];
  readonly joints_m: readonly (Point | null)[];
  readonly sigmas_m: readonly (number | null)[];
  readonly keypoints_px: readonly Point[];
  /** Missing from older daemons. */
  readonly visibilities?: readonly number[];
  /** The joint of this name. Throws RangeError for a name that is none. */
  joint(name: JointName): Joint;
}

/** All people of one frame. */
export interface Pose {
  readonly schema: "pose/v1";
  /** Counts the messages of the daemon; a gap is a message that was not read. */
  readonly sequence: number;
  readonly camera: string;
  readonly frame_id: string;
  readonly clock: "monotonic" | "recording";
  readonly capture_ns: number;
  readonly publish_ns: number;
  readonly capture_unix_ns: number;
  readonly unix_offset_ns: number;
  readonly age_ms: number;
  readonly frame_sequence: number;
  readonly image_px: readonly [width: number, height: number];
  readonly persons: readonly Person[];
  /** Poses published since the previous one of this loop (or this listener) that it did not get. */
  readonly skipped: number;
}

interface Stamped {
  readonly sequence: number;
  readonly camera: string;
  readonly clock: string;
  readonly publish_ns: number;
  readonly unix_ns: number;
}

/** Once a second. Further keys: docs/reference/messages.md. */
export interface Health extends Stamped {
  readonly schema: "health/v1";
  readonly uptime_s: number;
  readonly interval_s: number;
  readonly fps: { readonly captured: number; readonly estimated: number; readonly published: number };
  readonly frames: { readonly captured: number; readonly estimated: number; readonly published: number };
  readonly drops: Readonly<Record<string, number>>;
  readonly latency_ms: { readonly p50: number; readonly p99: number } | null;
  /** Of the newest pose. */
  readonly age_ms: number | null;
  readonly late: number;
  readonly people: number;
  readonly camera_state: "opening" | "running" | "silent" | "lost";
  readonly estimate_state: "working" | "failing";
  readonly estimate_faults: Readonly<Record<string, number>>;
  readonly lift_faults: Readonly<Record<string, number>>;
  readonly load: { readonly busy: number; readonly level: string };
  readonly engine: string;
  readonly engine_reason: string;
  readonly networks: Readonly<Record<string, string>>;
  readonly rss_bytes: number | null;
  readonly peers: number;
}

/** Something happened, such as `camera_lost`. */
export interface LiveEvent extends Stamped {
  readonly schema: "event/v1";
  readonly event: string;
  readonly detail: string | null;
}

/** A repetition of an exercise has ended (docs/reference/exercises.md). Times are capture times of `clock`. */
export interface Repetition extends Stamped {
  readonly schema: "repetition/v1";
  readonly exercise: string;
  readonly person: number;
  /** Of this person so far. */
  readonly count: number;
  readonly partials: number;
  readonly kind: "whole" | "partial";
  readonly start_ns: number;
  readonly peak_ns: number;
  readonly end_ns: number;
  readonly duration_s: number;
  readonly depth_deg: number;
  readonly depth_sigma_deg: number;
  readonly out_deg_s: number | null;
  readonly back_deg_s: number | null;
  /** Left less right. */
  readonly difference_deg: number | null;
  readonly difference_sigma_deg: number | null;
  readonly completed_share: number;
  readonly range_left_deg: readonly [number, number] | null;
  readonly range_right_deg: readonly [number, number] | null;
}

/** The keys are in docs/reference/messages.md and docs/guide/adaptation.md. */
export interface Adaptation {
  readonly schema: "adaptation/v1";
  readonly [key: string]: unknown;
}

export interface Names {
  readonly schema: "names/v1";
  readonly joints: readonly string[];
  readonly parents: readonly number[];
  readonly [key: string]: unknown;
}

/** What is still missing for a calibration: from `poised calibrate --web` (docs/guide/calibrate.md), not from a daemon. */
export interface Guidance {
  readonly schema: "guidance/v1";
  readonly source: string;
  readonly image_px: readonly [number, number];
  readonly views: number;
  readonly views_wanted: number;
  /** Corners in each ninth of the image, row by row, and from how many on it is covered. */
  readonly fields: readonly number[];
  readonly field_corners_wanted: number;
  /** Whether a view is turned about the vertical axis, and one about the horizontal. */
  readonly tilted: readonly [boolean, boolean];
  /** The four outer corners of the board in each view, pixels; the newest last. */
  readonly outlines: readonly (readonly (readonly [number, number])[])[];
  /** Whether the newest picture is kept, and what is said of it. */
  readonly kept: boolean;
  readonly said: string;
  readonly missing: string;
  readonly done: boolean;
}

/** A message that is not of its schema. It is passed over. */
export class MessageError extends Error {}

/** Why there is no connection. */
export class LiveError extends Error {
  /** The HTTP status, if there was an answer. */
  readonly status: number | null;
  /** Whether trying again is of no use: the token is wrong, or the page's origin or the host name is not allowed. */
  readonly refused: boolean;
}

/** The pose in a decoded `pose/v1` message. Throws MessageError if it is not of this schema. */
export function parse(message: unknown): Pose;

export interface LiveOptions {
  /** The token of `[web]`, sent in a header. Default: `#token=...` of the address, if it is there. */
  token?: string;
  /** Closes the connection. */
  signal?: AbortSignal;
  /** Without a pose for so long the state is `stale`. Default: 2000. */
  staleAfterMs?: number;
  /** A connection silent for so long is opened again. Default: 12000; the daemon sends something every 5000. */
  silentAfterMs?: number;
  /** Pauses before the connection is opened again; the last one is repeated. Default: 1000, 2000, 5000, 10000. */
  retryMs?: readonly number[];
  /** What makes requests. Default: the platform's `fetch`. */
  fetch?: typeof fetch;
}

export type LiveState = "connecting" | "live" | "stale" | "lost" | "refused" | "closed";

export interface LiveEventMap {
  pose: CustomEvent<Pose>;
  health: CustomEvent<Health>;
  adaptation: CustomEvent<Adaptation>;
  event: CustomEvent<LiveEvent>;
  repetition: CustomEvent<Repetition>;
  names: CustomEvent<Names>;
  guidance: CustomEvent<Guidance>;
  state: CustomEvent<LiveState>;
  /** A message that was passed over. */
  fault: CustomEvent<MessageError>;
}

/** A connection to one daemon, which is opened again whenever it is lost. */
export class Live extends EventTarget {
  /**
   * @param address Of the daemon's web view, such as `http://127.0.0.1:8080`; in a page it may be a path of the page's
   *   own server. Default: the folder of the page. Throws TypeError for what is no address.
   */
  constructor(address?: string | URL, options?: LiveOptions);
  /** The newest message of each kind; null before the first. */
  readonly pose: Pose | null;
  readonly health: Health | null;
  readonly adaptation: Adaptation | null;
  readonly names: Names | null;
  readonly guidance: Guidance | null;
  /** Why there is no connection; null while there is one. */
  readonly error: LiveError | null;
  /** Messages passed over because they were not of their schema. */
  readonly faults: number;
  /**
   * `live`: poses arrive; `stale`: connected, but no pose for `staleAfterMs` (`health` says why); `lost`: no
   * connection, it is being tried again (`error` says why); `refused`: the daemon refuses for good.
   */
  readonly state: LiveState;
  /** Milliseconds since the newest pose came; Infinity without a connection or a pose. */
  readonly poseAgeMs: number;
  /**
   * The poses from now on; the newest wins, and `skipped` of each counts those that a slow loop missed. Ends with
   * `close()`; throws LiveError if the daemon refuses.
   */
  poses(): AsyncGenerator<Pose, void, undefined>;
  /** Closes the connection for good. */
  close(): void;
  addEventListener<K extends keyof LiveEventMap>(
    kind: K, listener: (event: LiveEventMap[K]) => void, options?: boolean | AddEventListenerOptions): void;
  addEventListener(
    kind: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | AddEventListenerOptions): void;
  removeEventListener<K extends keyof LiveEventMap>(
    kind: K, listener: (event: LiveEventMap[K]) => void, options?: boolean | EventListenerOptions): void;
  removeEventListener(
    kind: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | EventListenerOptions): void;
}

/** The poses of a daemon until the loop ends, which closes the connection. */
export function poses(address?: string | URL, options?: LiveOptions): AsyncGenerator<Pose, void, undefined>;
