"""Runs a chain of stages, each from files to files, and keeps a manifest of what made what (`retrain` is its command).

A stage is up to date where its commands, its inputs and its outputs are those that the manifest names, by hash. A stage that was
stopped goes on where it stopped, if its programs can; else what it had made is removed and it starts again. The manifest is
written when a stage has ended well, and not before.

Names in braces are folders that differ between machines: {root} the checkout, {data} what is given, {run} what is made, {photos} a
folder of checkouts with further photographs, {python} the interpreter. The manifest keeps the names.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import hashlib
import json
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ABSENT = "absent"
"""Hash of an input that may be missing and is."""
SAVE_EVERY_S = 20.0
"""A stage that is killed forgets at most so much of the time it took."""
CHUNK = 1 << 20
PLAIN = re.compile(r"[\w{}./,:=@%+-]+")
"""What needs no quotes in a command, names in braces included."""


class ChainFault(Exception):
    """A stage that cannot be run, or that failed: the message names stage and cause."""


@dataclass(frozen=True)
class Step:
    """One command."""

    argv: tuple[str, ...]
    """A part that begins with `?` is left out where no file of that name exists."""
    folder: str = "{root}/models/training/people"
    to: str | None = None
    """File that takes the standard output."""


@dataclass(frozen=True)
class Stage:
    """From files to files. A `?` before an input: it may be missing. `FILE.toml#key`: the line of that key alone."""

    name: str
    what: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    steps: tuple[Step, ...]
    minutes: float
    """About how long it takes."""
    seed: int | None = None
    """Of all that is random; None where nothing is, or where the programs fix it."""
    needs: tuple[str, ...] = ()
    """Paths without which the chain leaves the stage out."""
    resumes: bool = False
    """Whether its programs go on from what they had made, or write each file over, so that nothing has to be removed first."""


@dataclass
class Places:
    """What the names in braces are on this machine."""

    root: Path
    data: Path
    run: Path
    photos: Path | None = None
    python: str = sys.executable

    def expand(self, text: str) -> str:
        """The text with this machine's folders. Raises KeyError for a name that is not given."""
        names = {"root": self.root, "data": self.data, "run": self.run, "python": self.python}
        if self.photos is not None:
            names["photos"] = self.photos
        return text.format(**names)

    def path(self, pattern: str) -> Path | None:
        """The file or folder of an input or output, None where its folder is not given."""
        try:
            return Path(self.expand(pattern.removeprefix("?").partition("#")[0]))
        except KeyError:
            return None


@dataclass
class Hashes:
    """SHA-256 of files and folders; large files are read again only when size or time changed."""

    cache: Path
    known: dict[str, list[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        with contextlib.suppress(OSError, json.JSONDecodeError):
            self.known = json.loads(self.cache.read_text())

    def file(self, path: Path) -> str:
        """Of one file."""
        stat = path.stat()
        stamp = [stat.st_size, stat.st_mtime_ns]
        had = self.known.get(str(path))
        if had and had[:2] == stamp:
            return str(had[2])
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(CHUNK):
                digest.update(block)
        self.known[str(path)] = [*stamp, digest.hexdigest()]
        return digest.hexdigest()

    def of(self, path: Path, key: str = "") -> str | None:
        """Of a file, of a folder (names and contents of all files in it), or of the line of one key in a TOML file; None where there is none."""
        if not path.exists():
            return None
        if key:
            lines = re.findall(rf"(?m)^{re.escape(key)} *=.*$", path.read_text())
            return hashlib.sha256("\n".join(lines).encode()).hexdigest()
        if path.is_file():
            return self.file(path)
        digest = hashlib.sha256()
        for part in sorted(p for p in path.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
            digest.update(f"{part.relative_to(path)} {self.file(part)}\n".encode())
        return digest.hexdigest()

    def save(self) -> None:
        """For the next run."""
        self.cache.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.cache, json.dumps(self.known))


def write_whole(path: Path, text: str) -> None:
    """Writes a file that is never half written."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(text)
    part.replace(path)


class Chain:
    """Stages in order, where they are run, and the manifest of what they made."""

    def __init__(self, stages: list[Stage], places: Places, manifest: Path, say: Callable[[str], None] = print) -> None:
        self.stages, self.places, self.manifest, self.say = stages, places, manifest, say
        self.hashes = Hashes(places.run / "hashes.json")
        self.entries: dict[str, Any] = {}
        if manifest.exists():
            try:
                self.entries = json.loads(manifest.read_text())["stages"]
            except (json.JSONDecodeError, KeyError, TypeError) as error:
                raise ChainFault(f'{manifest}: {error}; wanted an object with "stages"') from None

    def stage(self, name: str) -> Stage:
        """The stage of that name."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise ChainFault(f"{name}: no such stage; there are {', '.join(s.name for s in self.stages)}")

    def hash(self, pattern: str) -> str | None:
        """Of an input or output."""
        path = self.places.path(pattern)
        return None if path is None else self.hashes.of(path, pattern.partition("#")[2])

    def input_hashes(self, stage: Stage) -> dict[str, str]:
        """Of all inputs. Raises ChainFault where one is missing."""
        found = {}
        for pattern in stage.inputs:
            digest = self.hash(pattern)
            if digest is None and not pattern.startswith("?"):
                raise ChainFault(f"{stage.name}: {self.missing(pattern)}")
            found[pattern.removeprefix("?")] = digest or ABSENT
        return found

    def missing(self, pattern: str) -> str:
        """Where a missing input comes from."""
        makers = [s.name for s in self.stages for out in s.outputs if within(pattern, out) or within(out, pattern)]
        path = self.places.path(pattern)
        shown = pattern if path is None else path
        return f"{shown} is missing" + (f"; run stage {makers[0]} first" if makers else "; it has to be given")

    def argvs(self, stage: Stage) -> list[tuple[str, ...]]:
        """The commands, with names in braces, less the parts of files that do not exist."""
        out = []
        for step in stage.steps:
            kept = []
            for part in step.argv:
                path = self.places.path(part) if part.startswith("?") else None
                if not part.startswith("?") or (path is not None and path.exists()):
                    kept.append(part.removeprefix("?"))
            out.append(tuple(kept))
        return out

    def commands(self, stage: Stage) -> list[str]:
        """The commands as the manifest names them."""
        shown = []
        for argv, step in zip(self.argvs(stage), stage.steps, strict=True):
            text = " ".join(part if PLAIN.fullmatch(part) else shlex.quote(part) for part in argv)
            shown.append(text + (f" > {step.to}" if step.to else ""))
        return shown

    def left_out(self, stage: Stage) -> str | None:
        """Why the chain leaves a stage out, None where it does not."""
        for pattern in stage.needs:
            path = self.places.path(pattern)
            if path is None or not path.exists():
                return f"left out: needs {pattern}"
        return None

    def stale(self, stage: Stage) -> str | None:
        """Why a stage has to run, None where it is up to date."""
        entry = self.entries.get(stage.name)
        if entry is None:
            return "interrupted" if self.progress_file(stage).exists() else "not run yet"
        if entry["commands"] != self.commands(stage):
            return "its command has changed"
        for pattern in stage.inputs:
            name = pattern.removeprefix("?")
            if (self.hash(pattern) or ABSENT) != entry["inputs"].get(name):
                return f"input has changed: {name}" if self.hash(pattern) else f"input is missing: {name}"
        for pattern in stage.outputs:
            digest = self.hash(pattern)
            if digest != entry["outputs"].get(pattern):
                return f"output differs: {pattern}" if digest else f"output is missing: {pattern}"
        return None

    def progress_file(self, stage: Stage) -> Path:
        """What is remembered of a run that has not ended."""
        return self.places.run / "state" / f"{stage.name}.json"

    def listing(self, names: list[str]) -> Iterator[str]:
        """Lines about the stages, or about those named."""
        for stage in [self.stage(n) for n in names] or self.stages:
            entry = self.entries.get(stage.name, {})
            state = self.left_out(stage) or self.stale(stage) or "up to date"
            took = f"took {entry['minutes']:.1f} minutes" if "minutes" in entry else f"about {stage.minutes:g} minutes"
            seed = "" if stage.seed is None else f", seed {stage.seed}"
            steps = f", {entry['steps']} steps" if entry.get("steps") else ""
            yield f"{stage.name}: {state} ({took}{seed}{steps}{', resumes' if stage.resumes else ''})"
            yield f"    {stage.what}"
            for word, patterns in (("from", stage.inputs), ("to", stage.outputs)):
                yield f"    {word} {', '.join(p.removeprefix('?') + (' (if there)' if p.startswith('?') else '') for p in patterns)}"
            for step, command in zip(stage.steps, self.commands(stage), strict=True):
                yield f"    $ cd {step.folder} && {command}"
        self.hashes.save()

    def run(self, names: list[str], force: bool = False) -> None:
        """Runs the stages named, or all; those that are up to date are passed over."""
        with self.locked():
            for stage in [self.stage(n) for n in names] or self.stages:
                if why := self.left_out(stage):
                    if names:
                        raise ChainFault(f"{stage.name}: {why}")
                    self.say(f"{stage.name}: {why}")
                    continue
                why = self.stale(stage) or ("asked for" if force else None)
                if why is None:
                    self.say(f"{stage.name}: up to date")
                    continue
                self.say(f"{stage.name}: {why}")
                self.run_stage(stage)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One chain at a time in a folder."""
        self.places.run.mkdir(parents=True, exist_ok=True)
        with (self.places.run / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ChainFault(
                    f"{self.places.run}: another retrain runs there; wait, or give another --run"
                ) from None
            try:
                yield
            finally:
                self.hashes.save()

    def run_stage(self, stage: Stage) -> None:
        """Runs a stage from its start or from where it was stopped, and enters it into the manifest."""
        inputs, commands = self.input_hashes(stage), self.commands(stage)
        key = hashlib.sha256(json.dumps([inputs, commands]).encode()).hexdigest()
        progress = self.progress_file(stage)
        progress.parent.mkdir(parents=True, exist_ok=True)
        done, seconds = 0, 0.0
        had = json.loads(progress.read_text()) if progress.exists() else {}
        if stage.resumes and had.get("key") == key:
            done, seconds = had["done"], had["seconds"]
            self.say(f"{stage.name}: goes on after {seconds / 60:.1f} minutes")
        else:
            self.clear(stage)
        log = self.places.run / "logs" / f"{stage.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        began = time.monotonic() - seconds

        def remember() -> None:
            write_whole(progress, json.dumps({"key": key, "done": done, "seconds": time.monotonic() - began}))

        remember()
        with log.open("a" if done or seconds else "w") as out:
            for argv, step in list(zip(self.argvs(stage), stage.steps, strict=True))[done:]:
                try:
                    self.run_step(stage, argv, step, out, remember)
                finally:
                    remember()
                done += 1
                remember()
        outputs = {pattern: self.hash(pattern) for pattern in stage.outputs}
        for pattern, digest in outputs.items():
            if digest is None:
                raise ChainFault(f"{stage.name}: its commands ended well, but {self.places.path(pattern)} is missing")
        if self.input_hashes(stage) != inputs:
            raise ChainFault(f"{stage.name}: an input changed while it ran; run it again")
        self.enter(stage, inputs, outputs, (time.monotonic() - began) / 60, log)
        progress.unlink()

    def run_step(self, stage: Stage, argv: tuple[str, ...], step: Step, log: Any, remember: Callable[[], None]) -> None:
        """Runs one command; what it prints goes to the console and the log. Raises ChainFault where it fails."""
        words = [self.places.expand(part) for part in argv]
        log.write(f"$ {shlex.join(words)}\n")
        log.flush()
        to = self.places.path(step.to) if step.to else None
        with contextlib.ExitStack() as opened:
            target: Any = subprocess.PIPE
            if to is not None:
                to.parent.mkdir(parents=True, exist_ok=True)
                target = opened.enter_context(to.with_name(f"{to.name}.part").open("wb"))
            errors = subprocess.STDOUT if to is None else subprocess.PIPE
            try:
                child = opened.enter_context(
                    subprocess.Popen(words, cwd=self.places.expand(step.folder), stdout=target, stderr=errors)
                )
            except OSError as error:
                raise ChainFault(f"{stage.name}: {words[0]} does not start: {error}") from None
            try:
                saved = time.monotonic()
                for line in (child.stdout or child.stderr) or ():
                    log.write(line.decode(errors="replace"))
                    log.flush()
                    self.say(f"  {line.decode(errors='replace').rstrip()}")
                    if time.monotonic() - saved > SAVE_EVERY_S:
                        remember()
                        saved = time.monotonic()
                status = child.wait()
            except BaseException:
                child.terminate()
                raise
        if status != 0:
            raise ChainFault(
                f"{stage.name}: exit status {status} of: {shlex.join(words)}\n  what it printed is in {log.name}"
            )
        if to is not None:
            to.with_name(f"{to.name}.part").replace(to)

    def clear(self, stage: Stage) -> None:
        """Removes what a stage had made among the things made here; files of the checkout are written over by its programs.

        Raises ChainFault where something else made it: it may have taken hours.
        """
        known = stage.name in self.entries or self.progress_file(stage).exists()
        for pattern in stage.outputs:
            path = self.places.path(pattern)
            if not pattern.startswith("{run}/") or path is None or not path.exists():
                continue
            if not known:
                raise ChainFault(
                    f"{stage.name}: {path} exists, but not made by this chain; `--adopt {stage.name}`, or remove it"
                )
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def enter(
        self, stage: Stage, inputs: dict[str, str], outputs: dict[str, str | None], minutes: float, log: Path | None
    ) -> None:
        """Writes the stage's entry into the manifest."""
        ended = re.findall(r"(?m)^done (\d+)", log.read_text()) if log and log.exists() else []
        git = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=self.places.root, capture_output=True, text=True
        )
        entry: dict[str, Any] = {
            "commands": self.commands(stage),
            "inputs": inputs,
            "outputs": outputs,
            "seed": stage.seed,
        }
        entry |= {"steps": int(ended[-1]) if ended else None, "minutes": round(minutes, 2)}
        entry |= {"commit": git.stdout.strip() or None, "date": datetime.date.today().isoformat()}
        self.entries[stage.name] = entry
        order = [s.name for s in self.stages]
        kept = {name: self.entries[name] for name in order if name in self.entries}
        write_whole(self.manifest, json.dumps({"stages": kept}, indent=1) + "\n")
        self.say(f"{stage.name}: {minutes:.1f} minutes")

    def adopt(self, name: str, minutes: float, log: Path | None) -> None:
        """Enters what the stage's own commands made outside of the chain."""
        stage = self.stage(name)
        outputs = {pattern: self.hash(pattern) for pattern in stage.outputs}
        for pattern, digest in outputs.items():
            if digest is None:
                raise ChainFault(f"{name}: {self.places.path(pattern)} is missing; there is nothing to adopt")
        self.enter(stage, self.input_hashes(stage), outputs, minutes, log)
        self.hashes.save()


def within(inner: str, outer: str) -> bool:
    """Whether a pattern is another, or lies in it."""
    a, b = inner.removeprefix("?"), outer.removeprefix("?")
    return a == b or a.startswith(f"{b}/") or a.partition("#")[0] == b
