#!/usr/bin/env python3
"""Print live joints that poised publishes. Needs no code of poised's own.

Install with `pip install -r examples/requirements.txt`. Without arguments it reads from
the daemons of this machine; elsewhere say where and what:
`subscribe.py --connect tcp/192.168.1.20:7447 --key 'poised/clinic/*/*/poses'`.
"""

import argparse
import json
import signal
import threading

import cbor2
import zenoh

# Order of joints_m, sigmas_m and states; the daemon answers <camera>/names with the same.
JOINTS = [
    *("pelvis", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle"),
    *("spine", "thorax", "neck", "head", "left_shoulder", "left_elbow", "left_wrist"),
    *("right_shoulder", "right_elbow", "right_wrist"),
]
STATES = ("absent", "measured", "completed")

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
add = parser.add_argument
add("--connect", default="tcp/127.0.0.1:7447", help="endpoint of the daemon or a router")
add("--key", default="poised/*/*/*/poses", help="poised/<site>/<device>/<camera>/poses")
add("--joints", nargs="+", default=["pelvis", "left_wrist", "right_wrist"], choices=JOINTS)
add("--count", type=int, default=0, help="stop after so many messages; 0: never")
args = parser.parse_args()

signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends this quietly
enough = threading.Event()
seen = 0


def on_pose(sample: zenoh.Sample) -> None:
    """Print one message: who, doing what, and where a few joints are."""
    global seen
    pose = cbor2.loads(sample.payload.to_bytes())
    if pose["schema"] != "pose/v1" or enough.is_set():
        return
    people = pose["persons"]
    print(f"{pose['frame_id']} #{pose['sequence']}, {len(people)} people, {pose['age_ms']:.0f} ms")
    for person in people:
        action = person["action"]
        doing = f"{action['label']} ({action['probability']:.0%})" if action else "-"
        print(f"  person {person['id']}: {doing}")
        for name in args.joints:
            joint = JOINTS.index(name)
            place, sigma = person["joints_m"][joint], person["sigmas_m"][joint]
            where = ""
            if place:  # an absent joint has none
                where = "x {:+.2f}  y {:+.2f}  z {:+.2f} m".format(*place) + f"  ± {sigma:.2f}"
            print(f"    {name:<14} {STATES[person['states'][joint]]:<10} {where}", flush=True)
    seen += 1
    if seen == args.count:
        enough.set()


config = zenoh.Config()
config.insert_json5("connect/endpoints", json.dumps([args.connect]))
config.insert_json5("listen/endpoints", "[]")
config.insert_json5("scouting/multicast/enabled", "false")
with zenoh.open(config) as session:
    subscriber = session.declare_subscriber(args.key, on_pose)
    try:
        enough.wait()
    except KeyboardInterrupt:
        pass
