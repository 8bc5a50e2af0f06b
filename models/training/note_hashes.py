"""Writes the SHA-256 of every file that a `model.toml` names into it: `python note_hashes.py MODEL_FOLDER`."""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path

PAIR = re.compile(r'(?m)^(file = "([^"/]+)"\nsha256 = ")[0-9a-f]{64}"$')


def note_hashes(folder: Path) -> int:
    """Brings `folder/model.toml` up to date; returns how many files it names. Raises FileNotFoundError where one is missing."""
    toml = folder / "model.toml"

    def noted(pair: re.Match[str]) -> str:
        digest = hashlib.sha256((folder / pair[2]).read_bytes()).hexdigest()
        return f'{pair[1]}{digest}"'

    text, count = PAIR.subn(noted, toml.read_text())
    part = toml.with_suffix(".part")
    part.write_text(text)
    part.replace(toml)
    return count


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit("wanted: MODEL_FOLDER")
    try:
        count = note_hashes(Path(sys.argv[1]))
    except FileNotFoundError as error:
        raise SystemExit(f"{error.filename}: no such file") from None
    if count == 0:
        raise SystemExit(f"{sys.argv[1]}/model.toml: names no file with its SHA-256")


if __name__ == "__main__":
    main()
