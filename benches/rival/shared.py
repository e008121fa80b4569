"""What the rivals of ingest have alike: their command line, and the reference tables."""

import argparse
import csv
import shutil
from pathlib import Path


def parse(description: str | None) -> argparse.Namespace:
    """The arguments; the folder of the two tables is there and empty."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", default="clinic.observation")
    parser.add_argument("--messages", type=int, required=True, help="how many the topic holds")
    parser.add_argument("--bytes", type=int, required=True, help="their payloads' bytes")
    parser.add_argument("--dir", type=Path, required=True, help="folder of the two tables; emptied first")
    parser.add_argument("--commit-bytes", type=int, default=64_000_000)
    parser.add_argument("--special-codes", type=Path, required=True, help="CSV of codes that are special: system, code")
    parser.add_argument("--known-systems", type=Path, required=True, help="CSV of systems: system, canonical, matching")
    told = parser.parse_args()
    shutil.rmtree(told.dir, ignore_errors=True)
    told.dir.mkdir(parents=True)
    return told


def table_of(path: Path) -> list[dict[str, str]]:
    """A reference table of `sql/reference`."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
