// Compiles only if poised.d.ts has the types that a user needs: `./dev js`. It is never run.

import { EDGES, JOINT_NAMES, Live, LiveError, type JointName, type LiveState, type Point, parse, poses } from "../poised.js";

export async function use(): Promise<void> {
  for await (const pose of poses("http://127.0.0.1:8080", { token: "x", retryMs: [1000] })) {
    const skipped: number = pose.skipped;
    for (const person of pose.persons) {
      const wrist = person.joint("left_wrist");
      // @ts-expect-error: an absent joint has no place
      const [wrong] = wrist.place_m;
      if (wrist.state === "absent") continue;
      const place: Point = wrist.place_m;
      const label: string | undefined = person.action?.label;
      console.log(skipped, wrong, place, wrist.sigma_m.toFixed(2), label, person.size?.factor);
      // @ts-expect-error: no such joint
      person.joint("tail");
      // @ts-expect-error: a message is not changed
      person.id = 3;
    }
  }
}

export function listen(live: Live): void {
  live.addEventListener("health", ({ detail }) => console.log(detail.camera_state === "lost", detail.latency_ms?.p50));
  live.addEventListener("state", ({ detail }) => { const state: LiveState = detail; console.log(state); });
  live.addEventListener("repetition", ({ detail }) => {
    const counted: boolean = detail.kind === "whole";
    console.log(counted, detail.exercise, detail.depth_deg.toFixed(0), detail.difference_deg?.toFixed(0));
  });
  // @ts-expect-error: no such state
  if (live.state === "dead") live.close();
  const error: LiveError | null = live.error;
  const ends: [JointName | undefined, JointName | undefined][] = EDGES.map(([a, b]) => [JOINT_NAMES[a], JOINT_NAMES[b]]);
  console.log(error?.status, ends, parse(JSON.parse("{}")).persons.length);
}
