"""The stages that make the networks that ship, in order: what `retrain` runs. The commands are those of the README files beside."""

from __future__ import annotations

from chain import Stage, Step

FIRST = "9c29259"
"""Commit of the first person network and finder, which had seen rendered people only: what figures compare with."""
SECOND = "5ac5a92"
"""Commit of those that the trainings go on from: they had learned from a teacher's keypoints on photographs."""
FEATURES = "4741c9f"
"""Commit of the person network whose image features the lifter's head was trained with."""
BEFORE = "ba05a1b"
"""Commit of the lifter and the completion that had seen made-up errors only: the trainings on measured errors go on from them."""
MEASURED = "60c1033"
"""Commit of the lifter after its first training on measured errors."""
PEOPLE = "{data}/people"
THUNDER = "{data}/weights/movenet_thunder_fp32_from_f16.onnx"
LIGHTNING = "{data}/weights/movenet_lightning_fp32_from_int8.onnx"
MOTION = "{data}/motion"
LABELLED = ("?{run}/more", "?{run}/marked", "?{run}/marked_more")
"""Further photographs, the better labels last: a photograph in several folders is taken from the last."""
PHOTOS = ("{data}/people/train:{data}/people/other_labels.jsonl.gz", *LABELLED)
FINDER_PHOTOS = ("{data}/people/train", "?{run}/more", "?{run}/marked", "?{run}/animals")
STARTS = {
    "person": (FIRST, "person"),
    "finder": (FIRST, "finder"),
    "person2": (SECOND, "person"),
    "finder2": (SECOND, "finder"),
    "features": (FEATURES, "person"),
}
LIFTER = "{root}/models/training/lifter"
DICTIONARY = "{root}/models/training/dictionary"
HELD = "cmu_127,cmu_16,cmu_49,mhad_12"
"""People who are held out of what learns motion."""
HDM05 = "hdm05_bd,hdm05_bk,hdm05_dg,hdm05_tr"
"""People of another laboratory, for measuring only."""
SHIPPED = (
    "{root}/models/person/person.onnx",
    "{root}/models/lifter/backbone.onnx",
    "{root}/models/lifter/head.safetensors",
)
"""What the program runs when it makes poses for the stages after it."""


def python(script: str, *arguments: str, folder: str = "{root}/models/training/people") -> Step:
    """A script of a training folder."""
    return Step(("{python}", script, *arguments), folder)


def example(name: str, *arguments: str) -> Step:
    """An example of the program."""
    return Step(("cargo", "run", "--release", "--locked", "--example", name, "--", *arguments), "{root}")


def lifter(script: str, *arguments: str) -> Step:
    """A script of the lifter's training."""
    return python(script, *arguments, folder=LIFTER)


def dictionary(script: str, *arguments: str) -> Step:
    """A script of the dictionary's training."""
    return python(script, *arguments, folder=DICTIONARY)


def ring(name: str, seed: int, size: int, minutes: float) -> Stage:
    """A ring of simulated windows."""
    pool = f"{{run}}/lifter/{name}"
    arguments = ("--motion", MOTION, "--pool", pool, "--size", str(size), "--seed", str(seed), "--once")
    what = f"{size:,} simulated windows of keypoints with their poses"
    return Stage(f"lifter-{name}", what, (MOTION,), (pool,), (lifter("pool.py", *arguments),), minutes, seed)


def committed_lifter(name: str, commit: str, what: str) -> Stage:
    """The lifter as a commit has it, in `{run}/lifter/NAME`."""
    files = ("backbone.onnx", "head.safetensors")
    folder = f"{{run}}/lifter/{name}"
    steps = [
        Step(("git", "cat-file", "blob", f"{commit}:models/lifter/{file}"), "{root}", f"{folder}/{file}")
        for file in files
    ]
    return Stage(f"lifter-{name}", what, (), tuple(f"{folder}/{file}" for file in files), tuple(steps), 0.1)


def lifted(name: str, pool: str, seed: int, minutes: float, *arguments: str, start: str = "") -> Stage:
    """One run of the lifter's training."""
    out = f"{{run}}/lifter/{name}.pt"
    parts = [
        "--pool",
        f"{{run}}/lifter/{pool}",
        "--backbone",
        "tcn-deep",
        "--minutes",
        f"{minutes:g}",
        "--seed",
        str(seed),
    ]
    inputs = [f"{{run}}/lifter/{pool}"]
    if start:
        parts += ["--start", f"{{run}}/lifter/{start}.pt"]
        inputs.append(f"{{run}}/lifter/{start}.pt")
    step = lifter("train.py", *parts, *arguments, "--out", out)
    what = f"the lifter, on {pool}" + (f" from {start}" if start else " from nothing")
    return Stage(f"lifter-{name}", what, tuple(inputs), (out,), (step,), minutes, seed)


SEEING = [
    Stage(
        "start",
        "the networks that the trainings go on from, and those that figures compare with, as they were committed",
        (),
        tuple(f"{{run}}/start/{name}.onnx" for name in STARTS),
        tuple(
            Step(("git", "cat-file", "blob", f"{commit}:models/{n}/{n}.onnx"), "{root}", f"{{run}}/start/{name}.onnx")
            for name, (commit, n) in STARTS.items()
        ),
        0.1,
    ),
    Stage(
        "labels",
        "a teacher's keypoints for further photographs, from a checkout of brianhuster/human-dataset",
        (PEOPLE, THUNDER, "{run}/start/finder2.onnx"),
        ("{run}/more",),
        (
            python(
                "label_photos.py",
                *(PEOPLE, "{photos}/human-dataset", "--finder", "{run}/start/finder2.onnx"),
                *("--teacher", THUNDER, "--out", "{run}/more"),
            ),
        ),
        25,
        needs=("{photos}/human-dataset",),
        resumes=True,
    ),
    Stage(
        "marked",
        "keypoints that people marked in COCO, for the photographs of brianhuster/human-dataset",
        (PEOPLE,),
        ("{run}/marked",),
        (
            python(
                "coco_labels.py",
                *("{photos}/coco-keypoints", "--photos", "{photos}/human-dataset"),
                *("--leave-out", "{data}/people/eval", "--out", "{run}/marked"),
            ),
        ),
        0.5,
        needs=("{photos}/coco-keypoints", "{photos}/human-dataset"),
    ),
    Stage(
        "marked-more",
        "the same for photographs of COCO as they are, not all of whose people are known",
        (PEOPLE,),
        ("{run}/marked_more",),
        (
            python(
                "coco_labels.py",
                *("{photos}/coco-keypoints", "--photos", "{photos}/coco-small"),
                *("--leave-out", "{data}/people/eval", "--out", "{run}/marked_more"),
            ),
        ),
        0.1,
        needs=("{photos}/coco-keypoints", "{photos}/coco-small"),
    ),
    Stage(
        "animals",
        "photographs of Pascal VOC, most of animals, with boxes of their people",
        (f"{PEOPLE}/train", "{run}/start/finder2.onnx"),
        ("{run}/animals",),
        (
            python(
                "voc_boxes.py",
                *("{photos}/voc2012.txt", "--photos", "{photos}/voc", "--leave-out", "{data}/people/train"),
                *("--finder", "{run}/start/finder2.onnx"),
                *("--teacher", THUNDER, "--empty", "1500"),
                *("--out", "{run}/animals"),
            ),
        ),
        2,
        needs=("{photos}/voc", "{photos}/voc2012.txt"),
    ),
    Stage(
        "renders",
        "crops of rendered people with everything that is true of them",
        ("{data}/human_assets_cc0", MOTION),
        ("{run}/rendered",),
        (python("sample.py", "{data}", "{run}/rendered", "--count", "7000", "--seed", "211"),),
        20,
        211,
    ),
    Stage(
        "renders-held-out",
        "the same of people, shapes and looks that nothing is trained on, for measuring",
        ("{data}/human_assets_cc0", MOTION),
        ("{run}/rendered_held_out",),
        (python("sample.py", "{data}", "{run}/rendered_held_out", "--count", "500", "--seed", "31", "--held-out"),),
        1.5,
        31,
    ),
    Stage(
        "renders-fit",
        "more of those, for fitting what a confidence means",
        ("{data}/human_assets_cc0", MOTION),
        ("{run}/rendered_fit",),
        (python("sample.py", "{data}", "{run}/rendered_fit", "--count", "1000", "--seed", "37", "--held-out"),),
        1.5,
        37,
    ),
    Stage(
        "drawn",
        "crops of the program's own synthetic person, for measuring",
        (),
        ("{run}/drawn",),
        (example("render_people", "crops", "{run}/drawn", "--count", "2000", "--seed", "1"),),
        5,
        1,
    ),
    Stage(
        "cutouts",
        "rendered people cut out, for the finder's scenes",
        ("{data}/human_assets_cc0", MOTION),
        ("{run}/cutouts",),
        (python("scenes.py", "{data}", "{run}/cutouts", "--count", "900", "--seed", "77"),),
        4,
        77,
    ),
    Stage(
        "person",
        "the person network, on photographs and renders; its image features stay what the lifter's head knows",
        (
            f"{PEOPLE}/train",
            f"{PEOPLE}/other_labels.jsonl.gz",
            *LABELLED,
            "{run}/rendered",
            "{run}/start/person2.onnx",
            "{run}/start/features.onnx",
        ),
        ("{run}/person.pt",),
        (
            python(
                "train_person.py",
                "--photos",
                *PHOTOS,
                *("--shards", "{run}/rendered", "--init", "{run}/start/person2.onnx"),
                *("--features", "{run}/start/features.onnx", "--minutes", "105", "--lr", "1e-3", "--batch", "32"),
                *("--seed", "1", "--resume", "--out", "{run}/person.pt"),
            ),
        ),
        105,
        1,
        resumes=True,
    ),
    Stage(
        "finder",
        "the finder, on photographs and scenes of cut-outs; its maps learn to agree with MoveNet's",
        (*FINDER_PHOTOS, "{run}/cutouts", "{run}/start/finder2.onnx", LIGHTNING),
        ("{run}/finder.pt",),
        (
            python(
                "train_finder.py",
                *("--photos", *FINDER_PHOTOS),
                *("--cutouts", "{run}/cutouts", "--init", "{run}/start/finder2.onnx"),
                *("--teacher", LIGHTNING, "--photo-share", "0.84"),
                *("--minutes", "102", "--lr", "1.5e-3", "--seed", "5", "--resume", "--out", "{run}/finder.pt"),
            ),
        ),
        102,
        5,
        resumes=True,
    ),
    Stage(
        "blend-person",
        "the mean of the person network before that training and after it",
        ("{run}/person.pt", "{run}/start/person2.onnx"),
        ("{run}/person.onnx", "{run}/person3.onnx"),
        (
            python("export_networks.py", "person", "{run}/person.pt", "{run}/person.onnx"),
            # The training has seen no crops of the synthetic camera; half of what it began with keeps those.
            python(
                "blend.py",
                *("{run}/start/person2.onnx", "{run}/person.onnx", "--share", "0.5"),
                *("--out", "{run}/person3.onnx"),
            ),
        ),
        0.5,
    ),
    Stage(
        "drawn-more",
        "crops of the program's own synthetic person, for training",
        (),
        ("{run}/drawn_more",),
        (example("render_people", "crops", "{run}/drawn_more", "--count", "4000", "--seed", "5"),),
        3,
        5,
    ),
    Stage(
        "person-found",
        "the person network again, also on crops at the person detector's boxes: of people, and of what it takes for people",
        (
            f"{PEOPLE}/train",
            f"{PEOPLE}/other_labels.jsonl.gz",
            *LABELLED,
            "?{run}/animals",
            "{run}/rendered",
            "{run}/drawn_more",
            "{run}/start/finder2.onnx",
            "{run}/person3.onnx",
            "{run}/start/features.onnx",
        ),
        ("{run}/found.pt",),
        (
            python(
                "train_person.py",
                *("--photos", *PHOTOS, "?{run}/animals"),
                *("--shards", "{run}/rendered:0.5", "{run}/drawn_more:0.5", "--photo-share", "0.62"),
                *("--finder", "{run}/start/finder2.onnx", "--init", "{run}/person3.onnx"),
                *("--features", "{run}/start/features.onnx", "--minutes", "58", "--lr", "8e-4", "--batch", "32"),
                *("--seed", "4", "--resume", "--out", "{run}/found.pt"),
            ),
        ),
        58,
        4,
        resumes=True,
    ),
    Stage(
        "export-person",
        "the person network as the program reads it, and the list of its photographs",
        ("{run}/found.pt", "{run}/person3.onnx", f"{PEOPLE}/train", *LABELLED, "?{run}/animals"),
        ("{run}/found.onnx", "{root}/models/person/person.onnx", "{root}/models/person/photographs.csv"),
        (
            python("export_networks.py", "person", "{run}/found.pt", "{run}/found.onnx"),
            python(
                "blend.py",
                *("{run}/person3.onnx", "{run}/found.onnx", "--share", "0.5"),
                *("--out", "{root}/models/person/person.onnx"),
            ),
            python(
                "attribution.py",
                *("{data}/people/train", *LABELLED, "?{run}/animals", "--with-people"),
                *("--out", "{root}/models/person/photographs.csv"),
            ),
        ),
        0.5,
    ),
    Stage(
        "export-finder",
        "the finder as the program reads it, and the list of its photographs",
        ("{run}/finder.pt", *FINDER_PHOTOS),
        ("{root}/models/finder/finder.onnx", "{root}/models/finder/photographs.csv"),
        (
            python("export_networks.py", "finder", "{run}/finder.pt", "{root}/models/finder/finder.onnx"),
            python(
                "attribution.py",
                *(*FINDER_PHOTOS, "--out", "{root}/models/finder/photographs.csv"),
            ),
        ),
        0.5,
    ),
    Stage(
        "confidence",
        "what a keypoint's confidence means and when a box becomes a person, fitted on pictures kept from training",
        (
            "{root}/models/person/person.onnx",
            "{root}/models/finder/finder.onnx",
            f"{PEOPLE}/train",
            f"{PEOPLE}/other_labels.jsonl.gz",
            f"{PEOPLE}/eval",
            "?{run}/more",
            "?{run}/marked",
            "{run}/rendered_fit",
            "{run}/rendered_held_out",
            "{run}/drawn",
        ),
        ("{root}/models/person/model.toml#decoder",),
        (
            python(
                "confidence.py",
                *("{root}/models/person/person.onnx", "--photos", *PHOTOS, "--shards", "{run}/rendered_fit"),
                *("--eval", "{data}/people/eval", "--check", "{run}/rendered_held_out", "{run}/drawn"),
                *("--write", "{root}/models/person/model.toml", "--json", "{root}/docs/lab/people.json"),
            ),
            python(
                "presence.py",
                *("{data}/people", "--more", "?{run}/more", "?{run}/marked", "?{run}/animals"),
                *("--pair", "shipped={root}/models/finder/finder.onnx:{root}/models/person/person.onnx"),
                *("--write", "{root}/models/person/model.toml", "--json", "{root}/docs/lab/people.json"),
            ),
        ),
        1,
        1,
    ),
    Stage(
        "threshold",
        "the finder's threshold, chosen on photographs kept from training",
        (
            "{root}/models/finder/finder.onnx",
            f"{PEOPLE}/train",
            f"{PEOPLE}/eval",
            "?{run}/more",
            "?{run}/marked",
        ),
        ("{root}/models/finder/model.toml#decoder",),
        (
            python(
                "evaluate_finder.py",
                *("{data}/people", "--more", "?{run}/more", "?{run}/marked"),
                *("--finder", "shipped={root}/models/finder/finder.onnx"),
                *("--write", "{root}/models/finder/model.toml", "--json", "{root}/docs/lab/people.json"),
            ),
        ),
        1,
    ),
    Stage(
        "figures",
        "keypoints on photographs labelled by hand beside the networks before and MoveNet, and the page of all figures",
        (
            "{root}/models/person/person.onnx",
            "{root}/models/person/model.toml#decoder",
            "{root}/models/finder/model.toml#decoder",
            "{run}/start/person.onnx",
            f"{PEOPLE}/eval",
        ),
        ("{root}/docs/lab/people.json", "{root}/docs/lab/people.md"),
        (
            python(
                "evaluate_photos.py",
                *("{data}/people/eval", "--person", "before={run}/start/person.onnx"),
                *("--person", "shipped={root}/models/person/person.onnx"),
                *("--movenet", f"MoveNet Lightning={LIGHTNING}"),
                *("--movenet", f"MoveNet Thunder={THUNDER}"),
                *("--mirror", "--turned", "--json", "{root}/docs/lab/people.json"),
            ),
            python("figures.py", "{root}/docs/lab/people.json", "{root}/docs/lab/people.md"),
        ),
        2,
    ),
]

LIFTING = [
    ring("pool", 1, 802816, 12),
    lifted("first", "pool", 1, 1.6, "--limit", "200704", "--cpu"),
    lifted("main", "pool", 1, 46, "--batch", "384", start="first"),
    ring("pool2", 77, 491520, 8),
    lifted("tune", "pool2", 2, 12, "--batch", "512", "--rate", "8e-4", start="main"),
    ring("pool3", 303, 786432, 12),
    lifted("tune3", "pool3", 3, 42, "--batch", "512", "--rate", "1.2e-3", start="tune"),
    ring("pool6", 404, 737280, 12),
    lifted("tune4", "pool6", 4, 13, "--batch", "512", "--rate", "7e-4", start="tune3"),
    lifted("tune5", "pool6", 5, 7, "--batch", "512", "--rate", "6e-4", start="tune4"),
    committed_lifter(
        "before", BEFORE, "the lifter that the next training goes on from, as it was committed: tune5, calibrated"
    ),
    ring("measured-pool", 606, 983040, 25),
    Stage(
        "lifter-measured",
        "the lifter, on windows most of which have the measured detector's errors",
        ("{run}/lifter/measured-pool", "{run}/lifter/before/backbone.onnx", "{run}/lifter/before/head.safetensors"),
        ("{run}/lifter/measured.pt",),
        (
            lifter(
                "train.py",
                *("--pool", "{run}/lifter/measured-pool", "--backbone", "tcn-deep", "--batch", "512"),
                *("--minutes", "40", "--rate", "1e-3", "--seed", "6", "--start", "{run}/lifter/before"),
                *("--out", "{run}/lifter/measured.pt"),
            ),
        ),
        40,
        6,
    ),
    committed_lifter("shipped-once", MEASURED, "that lifter as it was committed: calibrated, its image layer zero"),
    ring("fresh-pool", 707, 983040, 9),
    Stage(
        "lifter-fresh",
        "the lifter, on windows it has not seen",
        (
            "{run}/lifter/fresh-pool",
            "{run}/lifter/shipped-once/backbone.onnx",
            "{run}/lifter/shipped-once/head.safetensors",
        ),
        ("{run}/lifter/fresh.pt",),
        (
            lifter(
                "train.py",
                *("--pool", "{run}/lifter/fresh-pool", "--backbone", "tcn-deep", "--batch", "512", "--float32"),
                *("--minutes", "30", "--rate", "9e-4", "--seed", "7", "--start", "{run}/lifter/shipped-once"),
                *("--out", "{run}/lifter/fresh.pt"),
            ),
        ),
        30,
        7,
    ),
    ring("fresh-pool2", 808, 983040, 40),
    Stage(
        "lifter-fresh2",
        "the same once more, at a lower rate",
        ("{run}/lifter/fresh-pool2", "{run}/lifter/fresh.pt"),
        ("{run}/lifter/fresh2.pt",),
        (
            lifter(
                "train.py",
                *("--pool", "{run}/lifter/fresh-pool2", "--backbone", "tcn-deep", "--batch", "512", "--float32"),
                *("--minutes", "35", "--rate", "6e-4", "--seed", "8", "--start", "{run}/lifter/fresh.pt"),
                *("--out", "{run}/lifter/fresh2.pt"),
            ),
        ),
        35,
        8,
    ),
    Stage(
        "lifter-calibrated",
        "one number for each joint, so that sigma means what it says",
        ("{run}/lifter/fresh2.pt", MOTION),
        ("{run}/lifter/final.pt",),
        (
            lifter(
                "calibrate.py",
                *("--motion", MOTION, "--weights", "{run}/lifter/fresh2.pt", "--count", "3000"),
                *("--out", "{run}/lifter/final.pt"),
            ),
        ),
        1,
    ),
    Stage(
        "export-backbone",
        "the lifter's backbone as the program reads it",
        ("{run}/lifter/final.pt",),
        ("{root}/models/lifter/backbone.onnx",),
        (
            lifter("export.py", "--weights", "{run}/lifter/final.pt", "--out", "{root}/models/lifter"),
            python("note_hashes.py", "{root}/models/lifter", folder="{root}/models/training"),
        ),
        0.5,
    ),
    Stage(
        "fused",
        "windows, image features and truth of rendered people, for the head's image layer",
        ("{run}/rendered", "{root}/models/person/person.onnx"),
        ("{run}/rendered_people.safetensors",),
        (
            python(
                "fuse_features.py",
                *("--shard", "{run}/rendered", "--person", "{root}/models/person/person.onnx"),
                *("--out", "{run}/rendered_people.safetensors"),
            ),
        ),
        3,
    ),
    Stage(
        "rendered-motion",
        "recorded motion done by synthetic people, as the networks see it",
        (MOTION, "{root}/models/person/person.onnx", "{root}/models/lifter/backbone.onnx"),
        ("{run}/drawn_motion.safetensors",),
        (
            example(
                "render_motion",
                *(f"{MOTION}/index_train.json", "{run}/drawn_motion.safetensors", "--clips", "1400", "--seed", "1"),
                *("--without", f"{HELD},{HDM05}"),
            ),
        ),
        40,
        1,
    ),
    Stage(
        "image-layer",
        "what the picture adds to the head, on drawn motion and on rendered people",
        (
            "{root}/models/lifter/backbone.onnx",
            "{run}/drawn_motion.safetensors",
            "{run}/rendered_people.safetensors",
        ),
        ("{run}/lifter/head.safetensors",),
        (
            lifter(
                "train_image_layer.py",
                *("--lifter", "{root}/models/lifter", "--drawn", "{run}/drawn_motion.safetensors"),
                *("--rendered", "{run}/rendered_people.safetensors", "--seed", "1"),
                *("--out", "{run}/lifter/head.safetensors"),
            ),
        ),
        3,
        1,
    ),
    Stage(
        "export-head",
        "the lifter's head as the program reads it",
        ("{run}/lifter/head.safetensors",),
        ("{root}/models/lifter/head.safetensors",),
        (
            Step(("cp", "{run}/lifter/head.safetensors", "{root}/models/lifter/head.safetensors"), "{root}"),
            python("note_hashes.py", "{root}/models/lifter", folder="{root}/models/training"),
        ),
        0.1,
    ),
]


def streams(out: str, people: str, seed: int, views: int, lifter_weights: bool, *more: str) -> Step:
    """Whole trials before simulated cameras; with the lifter's poses, or keypoints alone."""
    weights = ("--lifter", "{run}/lifter/final.pt") if lifter_weights else ()
    arguments = ("--people", people, "--views", str(views), "--seed", str(seed), *more, "--out", out)
    return dictionary("streams.py", "--motion", MOTION, *weights, *arguments)


RAYS = "{run}/rays"
POSES = "{run}/poses"
LEGS = [f"legs/{name}_{s}" for name in ("mhad_val", "cmu_val", "hdm05", "held_out") for s in (2, 4, 1)]
RAY_FILES = [*(f"train_{seed}" for seed in range(11, 17)), "made", "held_out", "hdm05", *LEGS]


def drawn(out: str, index: str, seed: int, clips: int, *more: str, folder: str = POSES) -> Step:
    """What the daemon makes of synthetic people who do recorded motion."""
    return example("pose_streams", "drawn", index, f"{folder}/{out}", "--clips", str(clips), "--seed", str(seed), *more)


RAYS_MEASURED, POSES_MEASURED = "{run}/rays_measured", "{run}/poses_measured"
"""Of a detector that errs as the person network does."""
MOST_MEASURED = ("--measured", "0.65")
TRAINED_MEASURED = ("train_41", "train_42", "made", "drawn_7", "drawn_made")
WITHOUT = ("--without", f"{HELD},{HDM05}")
CHECKS = tuple(f"{POSES}/{n}.safetensors" for n in ("held_out", "hdm05", "held_drawn", "held_made"))
TRAINED = (
    *(f"{POSES}/train_{seed}.safetensors" for seed in range(11, 17)),
    f"{POSES}/made.safetensors",
    *(f"{POSES}/drawn_{n}.safetensors" for n in ("7", "81", "82", "83", "made")),
)

NAMING = [
    Stage(
        "made-motion",
        "motion that the program's own camera makes up, to train on and to check",
        (),
        ("{run}/made", "{run}/made_held"),
        (
            example("synthetic_motion", "{run}/made", "5000", "300", "30"),
            example("synthetic_motion", "{run}/made_held", "9000", "60", "30"),
        ),
        3,
    ),
    Stage(
        "encoder-streams",
        "whole trials before simulated cameras, and what the lifter makes of them",
        (MOTION, "{run}/lifter/final.pt", "{run}/made"),
        tuple(f"{{run}}/streams/{n}.safetensors" for n in ("train_11", "train_12", "made", "held_out")),
        (
            streams("{run}/streams/train_11.safetensors", "train", 11, 1, True),
            streams("{run}/streams/train_12.safetensors", "train", 12, 1, True),
            streams("{run}/streams/made.safetensors", "{run}/made/index.json", 53, 1, True),
            streams("{run}/streams/held_out.safetensors", "held_out", 21, 1, True),
        ),
        15,
    ),
    Stage(
        "encoder",
        "the two encoders, first on recorded motion, then on made-up motion too",
        (
            *(f"{{run}}/streams/{n}.safetensors" for n in ("train_11", "train_12", "made")),
            "{root}/models/dictionary/phrases.json",
            "{root}/models/dictionary/phrases.safetensors",
        ),
        ("{run}/encoder1.pt", "{run}/encoder2.pt"),
        (
            dictionary(
                "train_encoder.py",
                *("--data", "{run}/streams/train_11.safetensors", "{run}/streams/train_12.safetensors"),
                *(
                    "--phrases",
                    "{root}/models/dictionary",
                    "--minutes",
                    "7",
                    "--seed",
                    "1",
                    "--out",
                    "{run}/encoder1.pt",
                ),
            ),
            dictionary(
                "train_encoder.py",
                *("--data", "{run}/streams/train_11.safetensors", "{run}/streams/train_12.safetensors"),
                *("{run}/streams/made.safetensors", "--phrases", "{root}/models/dictionary", "--minutes", "10"),
                *("--rate", "1.5e-3", "--init", "{run}/encoder1.pt", "--seed", "1", "--out", "{run}/encoder2.pt"),
            ),
        ),
        34,
        1,
    ),
    Stage(
        "basis",
        "the basis of the dictionary's entries",
        (MOTION,),
        ("{run}/prior.safetensors",),
        (dictionary("prior.py", "--motion", MOTION, "--rank", "96", "--out", "{run}/prior.safetensors"),),
        1,
    ),
    Stage(
        "export-encoder",
        "encoders and basis as the program reads them; the dictionary's entries are then to be built again",
        (
            "{run}/encoder2.pt",
            "{run}/prior.safetensors",
            "{run}/streams/held_out.safetensors",
            "{run}/streams/train_11.safetensors",
        ),
        ("{root}/models/dictionary/encoder.safetensors", "{root}/models/dictionary/golden.safetensors"),
        (
            dictionary(
                "export.py",
                *("--weights", "{run}/encoder2.pt", "--prior", "{run}/prior.safetensors"),
                *("--phrases", "{root}/models/dictionary", "--calibrate", "{run}/streams/held_out.safetensors"),
                *("--moving", "{run}/streams/train_11.safetensors", "--out", "{root}/models/dictionary"),
            ),
        ),
        0.5,
    ),
    Stage(
        "rays",
        "simulated keypoints of whole trials, and of people whose legs are hidden",
        (MOTION, "{run}/made"),
        (RAYS,),
        (
            *(streams(f"{RAYS}/train_{s}.safetensors", "train", s, 1, False) for s in range(11, 17)),
            streams(f"{RAYS}/made.safetensors", "{run}/made/index.json", 17, 1, False),
            streams(f"{RAYS}/held_out.safetensors", "held_out", 21, 2, False),
            streams(f"{RAYS}/hdm05.safetensors", "hdm05", 31, 2, False),
            dictionary("legs.py", "--motion", MOTION, "--out", f"{RAYS}/legs"),
        ),
        20,
        resumes=True,
    ),
    Stage(
        "poses",
        "what the daemon makes of simulated keypoints and of synthetic people",
        (RAYS, MOTION, "{run}/made", "{run}/made_held", *SHIPPED),
        (POSES,),
        (
            Step(("mkdir", "-p", f"{POSES}/legs"), "{root}"),
            *(
                example("pose_streams", "rays", f"{RAYS}/{n}.safetensors", f"{POSES}/{n}.safetensors")
                for n in RAY_FILES
            ),
            drawn("drawn_7.safetensors", f"{MOTION}/index_train.json", 7, 1600, *WITHOUT),
            *(
                drawn(f"drawn_{seed}.safetensors", f"{MOTION}/index_train.json", seed, 500, *WITHOUT)
                for seed in (81, 82, 83)
            ),
            drawn("drawn_made.safetensors", "{run}/made/index.json", 9, 700),
            drawn("held_drawn.safetensors", f"{MOTION}/index_train.json", 5, 80, "--only", HELD),
            drawn("held_made.safetensors", "{run}/made_held/index.json", 10, 60),
        ),
        180,
        resumes=True,
    ),
    Stage(
        "completion",
        "the network that completes hidden joints and corrects those that are seen",
        (POSES, RAYS),
        ("{run}/completion.pt",),
        (
            dictionary(
                "train_completion.py",
                *(
                    "--data",
                    *TRAINED,
                    "--check",
                    *CHECKS,
                    "--minutes",
                    "20",
                    "--seed",
                    "4",
                    "--out",
                    "{run}/completion.pt",
                ),
            ),
        ),
        20,
        4,
    ),
    Stage(
        "completion-before",
        "that network as it was committed: the next training goes on from it",
        (),
        ("{run}/completion_before.safetensors",),
        (
            Step(
                ("git", "cat-file", "blob", "9f36ab3:models/dictionary/completion.safetensors"),
                "{root}",
                "{run}/completion_before.safetensors",
            ),
        ),
        0,
    ),
    Stage(
        "rays-measured",
        "keypoints of whole trials, most of them with the measured detector's errors",
        (MOTION, "{run}/made"),
        (RAYS_MEASURED,),
        (
            *(
                streams(f"{RAYS_MEASURED}/train_{s}.safetensors", "train", s, 1, False, *MOST_MEASURED, "--every", "2")
                for s in (41, 42)
            ),
            streams(f"{RAYS_MEASURED}/made.safetensors", "{run}/made/index.json", 17, 1, False, "--measured", "0.5"),
            streams(f"{RAYS_MEASURED}/held_out.safetensors", "held_out", 21, 1, False, *MOST_MEASURED),
            dictionary(
                *("legs.py", "--motion", MOTION, "--sets", "held_out", "--seconds", "2"),
                *("--out", f"{RAYS_MEASURED}/legs"),
            ),
        ),
        4,
        resumes=True,
    ),
    Stage(
        "poses-measured",
        "what the daemon makes of those and of synthetic people, with the networks that ship",
        (RAYS_MEASURED, MOTION, "{run}/made", "{run}/made_held", *SHIPPED),
        (POSES_MEASURED,),
        (
            Step(("mkdir", "-p", f"{POSES_MEASURED}/legs"), "{root}"),
            *(
                example("pose_streams", "rays", f"{RAYS_MEASURED}/{n}.safetensors", f"{POSES_MEASURED}/{n}.safetensors")
                for n in ("train_41", "train_42", "made", "held_out", "legs/held_out_2")
            ),
            drawn("drawn_7.safetensors", f"{MOTION}/index_train.json", 7, 800, *WITHOUT, folder=POSES_MEASURED),
            drawn("drawn_made.safetensors", "{run}/made/index.json", 9, 300, folder=POSES_MEASURED),
            drawn(
                *("held_drawn.safetensors", f"{MOTION}/index_train.json", 5, 80, "--only", HELD),
                folder=POSES_MEASURED,
            ),
            drawn("held_made.safetensors", "{run}/made_held/index.json", 10, 60, folder=POSES_MEASURED),
        ),
        20,
        resumes=True,
    ),
    Stage(
        "completion-measured",
        "the network that completes and corrects, on measured errors and on today's networks' answers",
        (POSES_MEASURED, "{run}/completion_before.safetensors"),
        ("{run}/completion_measured.pt",),
        (
            dictionary(
                *("train_completion.py", "--start", "{run}/completion_before.safetensors"),
                *("--data", *(f"{POSES_MEASURED}/{n}.safetensors" for n in TRAINED_MEASURED)),
                *("--check", *(f"{POSES_MEASURED}/{n}.safetensors" for n in ("held_out", "held_drawn", "held_made"))),
                *("--minutes", "22", "--threads", "1", "--rate", "1e-3", "--seed", "4"),
                *("--out", "{run}/completion_measured.pt"),
            ),
        ),
        22,
        4,
    ),
    Stage(
        "export-completion",
        "that network as the program reads it, and its golden cases",
        ("{run}/completion_measured.pt", "{root}/models/dictionary/encoder.safetensors", POSES_MEASURED, MOTION),
        ("{root}/models/dictionary/completion.safetensors", "{root}/models/dictionary/golden_completion.safetensors"),
        (
            dictionary(
                "export_completion.py",
                *("--weights", "{run}/completion_measured.pt"),
                *("--prior", "{root}/models/dictionary/encoder.safetensors", "--motion", MOTION),
                *("--legs", f"{POSES_MEASURED}/legs", "--drawn", f"{POSES_MEASURED}/held_drawn.safetensors"),
                *("--out", "{root}/models/dictionary"),
            ),
        ),
        0.5,
    ),
    Stage(
        "denoiser",
        "the motion denoiser that adapts with the final layers",
        (MOTION,),
        ("{run}/denoiser.pt",),
        (
            dictionary(
                "train_denoiser.py",
                *("--motion", MOTION, "--steps", "4000", "--seed", "1", "--resume", "--out", "{run}/denoiser.pt"),
            ),
        ),
        23,
        1,
        resumes=True,
    ),
    Stage(
        "export-denoiser",
        "that network as the program reads it, and its golden cases",
        ("{run}/denoiser.pt", MOTION),
        ("{root}/models/dictionary/denoiser.safetensors", "{root}/models/dictionary/golden_denoiser.safetensors"),
        (
            dictionary(
                "export_denoiser.py",
                *("--weights", "{run}/denoiser.pt", "--motion", MOTION, "--out", "{root}/models/dictionary"),
            ),
        ),
        0.5,
    ),
]

STAGES = [*SEEING, *LIFTING, *NAMING]
