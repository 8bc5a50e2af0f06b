"""Checks of the chain on a made-up graph of stages, and of the stages that ship against the scripts they run."""

from __future__ import annotations

import ast
import fcntl
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from chain import ABSENT, Chain, ChainFault, Places, Stage, Step, within
from note_hashes import note_hashes
from stages import FIRST, STAGES

TRAINING = Path(__file__).resolve().parent
ROOT = TRAINING.parents[1]

JOIN = """
import sys
from pathlib import Path
*sources, out = sys.argv[1:]
Path(out).write_text("".join(Path(s).read_text() for s in sources))
print("done", len(sources))
"""
TRAIN = """
import sys
from pathlib import Path
source, out, broken = (Path(a) for a in sys.argv[1:])
steps = int(out.read_text().split()[-1]) if out.exists() else 0
for step in range(steps + 1, 4):
    out.write_text(f"{source.read_text()} {step}")
    if step == 2 and broken.exists():
        raise SystemExit("out of luck")
print("done", 3 - steps)
"""


class Made:
    """A made-up project: two files given, one joined, one trained on, one shipped."""

    def __init__(self, folder: Path) -> None:
        self.root, self.data, self.run = folder / "root", folder / "data", folder / "run"
        for path in (self.root, self.data):
            path.mkdir()
        (self.root / "join.py").write_text(JOIN)
        (self.root / "train.py").write_text(TRAIN)
        (self.data / "a").write_text("A")
        (self.data / "b").write_text("B")
        (self.root / "model.toml").write_text('note = "x"\nthreshold = 1\n')
        self.said: list[str] = []

    def stages(self, more: str = "more") -> list[Stage]:
        def script(*argv: str) -> Step:
            return Step(("{python}", *argv), "{root}")

        joined = ("{data}/a", "{data}/b", f"?{{data}}/{more}")
        return [
            Stage("join", "joins", joined, ("{run}/ab",), (script("join.py", *joined, "{run}/ab"),), 1),
            Stage(
                "train",
                "trains",
                ("{run}/ab",),
                ("{run}/net",),
                (script("train.py", "{run}/ab", "{run}/net", "{data}/broken"),),
                1,
                seed=5,
                resumes=True,
            ),
            Stage("extra", "needs a checkout", ("{photos}",), ("{run}/x",), (script("no.py"),), 1, needs=("{photos}",)),
            Stage(
                "ship",
                "ships",
                ("{run}/net",),
                ("{root}/net", "{root}/model.toml#threshold"),
                (script("join.py", "{run}/net", "{root}/net"), Step(("cat", "{run}/net"), "{root}", "{root}/copy")),
                1,
            ),
        ]

    def chain(self, **more: Any) -> Chain:
        places = Places(self.root, self.data, self.run, python=sys.executable)
        return Chain(self.stages(**more), places, self.root / "manifest.json", self.said.append)

    def states(self) -> dict[str, str | None]:
        chain = self.chain()
        return {s.name: chain.left_out(s) or chain.stale(s) for s in chain.stages}

    @property
    def manifest(self) -> dict[str, Any]:
        read: dict[str, Any] = json.loads((self.root / "manifest.json").read_text())["stages"]
        return read


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


def test_all_stages_run_once_and_are_then_up_to_date(made: Made) -> None:
    made.chain().run([])
    assert (made.root / "net").read_text() == "AB 3" == (made.root / "copy").read_text()
    left_out = "left out: needs {photos}"
    assert made.states() == {"join": None, "train": None, "extra": left_out, "ship": None}
    entry = made.manifest["train"]
    assert entry["steps"] == 3 and entry["seed"] == 5 and entry["minutes"] < 1
    assert entry["commands"] == ["{python} train.py {run}/ab {run}/net {data}/broken"]
    assert str(made.root.parent) not in json.dumps(made.manifest)
    assert made.manifest["join"]["inputs"]["{data}/more"] == ABSENT
    before = (made.run / "net").stat().st_mtime_ns
    made.chain().run([])
    assert (made.run / "net").stat().st_mtime_ns == before
    assert made.said[-4:] == ["join: up to date", "train: up to date", f"extra: {left_out}", "ship: up to date"]


def test_what_changes_runs_again_and_what_depends_on_it(made: Made) -> None:
    made.chain().run([])
    (made.data / "b").write_text("C")
    assert made.states()["join"] == "input has changed: {data}/b"
    assert made.states()["train"] is None  # until its own input is another
    made.chain().run([])
    assert (made.root / "net").read_text() == "AC 3"
    (made.data / "more").write_text("D")  # an input that may be missing has come
    assert made.states()["join"] == "its command has changed"
    made.chain().run([])
    assert (made.root / "net").read_text() == "ACD 3"
    (made.root / "net").write_text("tampered")
    assert made.states()["ship"] == "output differs: {root}/net"
    (made.run / "net").unlink()
    assert made.states()["train"] == "output is missing: {run}/net"
    assert made.states()["ship"] == "input is missing: {run}/net"


def test_of_a_description_only_the_key_named_counts(made: Made) -> None:
    made.chain().run([])
    (made.root / "model.toml").write_text('note = "another"\nthreshold = 1\n')
    assert made.states()["ship"] is None
    (made.root / "model.toml").write_text('note = "another"\nthreshold = 2\n')
    assert made.states()["ship"] == "output differs: {root}/model.toml#threshold"


def test_a_stage_that_failed_goes_on_where_it_stopped(made: Made) -> None:
    (made.data / "broken").write_text("")
    with pytest.raises(ChainFault, match="train: exit status 1 of: .*train.py(.|\n)*logs/train.log"):
        made.chain().run([])
    assert list(made.manifest) == ["join"] and made.states()["train"] == "interrupted"
    assert "out of luck" in (made.run / "logs/train.log").read_text()
    (made.data / "broken").unlink()
    made.chain().run(["train"])
    assert (made.run / "net").read_text() == "AB 3"
    assert made.manifest["train"]["steps"] == 1  # two were there
    assert any("goes on after" in line for line in made.said)


def test_a_stage_that_failed_starts_again_where_its_input_is_another(made: Made) -> None:
    (made.data / "broken").write_text("")
    with pytest.raises(ChainFault):
        made.chain().run([])
    (made.data / "broken").unlink()
    (made.data / "a").write_text("X")
    made.chain().run([])
    assert (made.run / "net").read_text() == "XB 3" and made.manifest["train"]["steps"] == 3


def test_a_stage_alone_says_what_it_waits_for(made: Made) -> None:
    with pytest.raises(ChainFault, match=r"train: .*run/ab is missing; run stage join first"):
        made.chain().run(["train"])
    (made.data / "a").unlink()
    with pytest.raises(ChainFault, match=r"join: .*data/a is missing; it has to be given"):
        made.chain().run(["join"])
    with pytest.raises(ChainFault, match="extra: left out: needs"):
        made.chain().run(["extra"])
    with pytest.raises(ChainFault, match="nothing: no such stage; there are join, train, extra, ship"):
        made.chain().run(["nothing"])


def test_what_the_chain_has_not_made_is_not_removed(made: Made) -> None:
    made.run.mkdir()
    (made.run / "ab").write_text("AB")
    with pytest.raises(ChainFault, match="ab exists, but not made by this chain"):
        made.chain().run(["join"])
    assert (made.run / "ab").read_text() == "AB"
    log = made.run / "join.log"
    log.write_text("hello\ndone 7\n")
    made.chain().adopt("join", 12.0, log)
    assert made.states()["join"] is None
    assert made.manifest["join"]["steps"] == 7 and made.manifest["join"]["minutes"] == 12.0
    with pytest.raises(ChainFault, match="nothing to adopt"):
        made.chain().adopt("train", 1.0, None)


def test_a_command_that_makes_nothing_or_does_not_start_is_a_fault(made: Made) -> None:
    (made.root / "join.py").write_text("pass")
    with pytest.raises(ChainFault, match="join: its commands ended well, but .*ab is missing"):
        made.chain().run(["join"])
    chain = made.chain()
    chain.places.python = "/nowhere/python"
    with pytest.raises(ChainFault, match="join: /nowhere/python does not start"):
        chain.run(["join"])
    assert not (made.root / "manifest.json").exists()


def test_an_input_that_changes_while_a_stage_runs_is_a_fault(made: Made) -> None:
    (made.root / "join.py").write_text(JOIN + "Path(sources[0]).write_text('changed')\n")
    with pytest.raises(ChainFault, match="join: an input changed while it ran"):
        made.chain().run(["join"])
    assert not (made.root / "manifest.json").exists()


def test_one_chain_runs_in_a_folder(made: Made) -> None:
    made.run.mkdir()
    with (made.run / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ChainFault, match="another retrain runs there"):
            made.chain().run([])


def test_a_manifest_that_is_none_is_a_fault(made: Made) -> None:
    for text in ("[", "[]", "{}"):
        (made.root / "manifest.json").write_text(text)
        with pytest.raises(ChainFault, match="manifest.json"):
            made.chain()


def test_the_list_names_everything_and_folders_hash_by_content(made: Made) -> None:
    made.chain().run([])
    text = "\n".join(made.chain().listing([]))
    for part in (
        "train: up to date",
        "seed 5",
        "3 steps",
        "from {run}/ab",
        "to {run}/net",
        "$ cd {root} && {python} train.py",
    ):
        assert part in text
    assert "train: " not in "\n".join(made.chain().listing(["ship"]))
    folder = made.data / "folder"
    folder.mkdir()
    (folder / "x").write_text("1")
    chain = made.chain()
    first = chain.hash("{data}/folder")
    time.sleep(0.01)
    (folder / "x").write_text("2")
    assert chain.hash("{data}/folder") != first
    (folder / "x").rename(folder / "y")
    assert chain.hash("{data}/folder") not in (first, None)


def test_patterns_lie_in_one_another() -> None:
    assert within("{run}/a/b", "{run}/a") and within("?{run}/a", "{run}/a") and within("{run}/m.toml#x", "{run}/m.toml")
    assert not within("{run}/ab", "{run}/a")


def test_hashes_are_noted_for_every_file(tmp_path: Path) -> None:
    for name in ("a.onnx", "b.safetensors"):
        (tmp_path / name).write_text(name)
    zero = "0" * 64
    text = f'[network]\nfile = "a.onnx"\nsha256 = "{zero}"\n\n[[extra]]\nfile = "b.safetensors"\nsha256 = "{zero}"\n'
    (tmp_path / "model.toml").write_text(text)
    assert note_hashes(tmp_path) == 2
    sums = subprocess.run(["sha256sum", "a.onnx", "b.safetensors"], cwd=tmp_path, capture_output=True, text=True)
    digests = [line.split()[0] for line in sums.stdout.splitlines()]
    assert all(d in (tmp_path / "model.toml").read_text() for d in digests)


def options_of(script: Path) -> set[str]:
    """The options that a script's parser knows."""
    calls = [n for n in ast.walk(ast.parse(script.read_text())) if isinstance(n, ast.Call)]
    added = [n for n in calls if isinstance(n.func, ast.Attribute) and n.func.attr == "add_argument"]
    return {a.value for n in added for a in n.args if isinstance(a, ast.Constant) and isinstance(a.value, str)}


def needed_of(script: Path) -> set[str]:
    """The options that a script cannot do without."""
    needed = set()
    for n in ast.walk(ast.parse(script.read_text())):
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute) and n.func.attr == "add_argument":
            if any(k.arg == "required" for k in n.keywords) and isinstance(n.args[0], ast.Constant):
                needed.add(str(n.args[0].value))
    return needed


STEPS = [(stage.name, step) for stage in STAGES for step in stage.steps]


@pytest.mark.parametrize(("name", "step"), STEPS, ids=[f"{n}-{k}" for k, (n, _) in enumerate(STEPS)])
def test_the_shipped_stages_run_programs_with_options_they_know(name: str, step: Step) -> None:
    folder = Path(step.folder.format(root=ROOT))
    assert folder.is_dir()
    options = {part for part in step.argv if part.startswith("--") and part != "--"}
    if step.argv[0] == "{python}":
        script = folder / step.argv[1]
        assert script.is_file()
        assert options <= options_of(script)
        assert needed_of(script) <= options
    elif step.argv[0] == "cargo":
        source = ROOT / "examples" / f"{step.argv[step.argv.index('--example') + 1]}.rs"
        text = source.read_text()
        for option in options - {"--release", "--locked", "--example"}:
            assert f"{option[2:].replace('-', '_')}:" in text
    else:
        assert step.argv[0] in ("git", "mkdir", "cp")


def test_the_shipped_stages_take_what_is_given_or_made_before() -> None:
    made: list[str] = []
    names = [s.name for s in STAGES]
    assert len(set(names)) == len(names)
    for stage in STAGES:
        assert stage.outputs and stage.steps
        for pattern in stage.inputs:
            bare = pattern.removeprefix("?").partition("#")[0]
            given = bare.startswith("{data}") or (bare.startswith("{root}") and (ROOT / bare[7:]).exists())
            assert given or any(within(bare, out) or within(out, bare) for out in made), (stage.name, pattern)
        for output in stage.outputs:
            assert output not in made, (stage.name, output)
        made += stage.outputs


def test_the_trainings_start_from_a_commit_of_this_history() -> None:
    known = subprocess.run(["git", "cat-file", "-t", FIRST], cwd=ROOT, capture_output=True, text=True)
    if known.returncode != 0:
        pytest.skip("a clone without that history")
    assert known.stdout.strip() == "commit"


def test_the_list_of_a_machine_without_data_is_quick_and_whole(tmp_path: Path) -> None:
    folders = ["--data", str(tmp_path), "--run", str(tmp_path / "run")]
    command = [sys.executable, str(TRAINING / "retrain"), *folders]
    listed = subprocess.run([*command, "--list"], capture_output=True, text=True, check=True).stdout
    assert all(f"\n{s.name}: " in f"\n{listed}" for s in STAGES)
    wrong = subprocess.run([*command, "person"], capture_output=True, text=True)
    assert wrong.returncode == 1 and wrong.stderr.startswith("retrain: person: ") and wrong.stderr.count("\n") == 1
