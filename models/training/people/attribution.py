"""Writes the list of photographs that a network was trained on: origin and licence of each, for attribution.

python attribution.py DATA/people/train RUN/more --out ../../person/photographs.csv --with-people
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from photos import Photo, open_folders


def used(photo: Photo, with_people: bool) -> bool:
    """Whether the photograph was trained on: by the person network (`with_people`), or by the finder."""
    if photo.measured_on:
        return False
    if with_people:
        return photo.negative and not photo.empty_held_out or bool(photo.people) and not photo.held_out
    return not (photo.empty_held_out if photo.negative else photo.held_out)


def rows(folders: list[Path], with_people: bool) -> list[tuple[str, str, str]]:
    """Collection, origin (an id in the collection, or an address) and licence, sorted, each once.

    Raises ValueError where a photograph has no licence: it must not be trained on.
    """
    found = set()
    for folder, photos in open_folders([str(folder) for folder in folders]):
        for photo in photos:
            if not used(photo, with_people):
                continue
            if not photo.licence:
                raise ValueError(f"{folder / photo.file}: no licence in the index")
            found.add((photo.source, photo.origin or photo.file, photo.licence))
    return sorted(found)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folders", type=Path, nargs="+")
    p.add_argument("--with-people", action="store_true", help="only photographs with keypoints: the person network's")
    p.add_argument("--out", type=Path, required=True)
    a = p.parse_args()
    table = rows(a.folders, a.with_people)
    with a.out.open("w", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["source", "origin", "licence"])
        writer.writerows(table)
    print(f"{a.out}: {len(table)} photographs")


if __name__ == "__main__":
    main()
