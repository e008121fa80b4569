"""Compares each table, read from S3 by another reader, with an independent reading of the bundles.

For each curated table: the number of rows, each column's share of NULLs, and random cells of each column. For each raw
table: the number of rows, the payloads as JSON values, every position once; and that there are no dead letters.
Exit status 1 and one line for each difference; no line names a value of a patient.
"""

import json
import random
import time
from collections import Counter
from pathlib import Path

from . import verdict
from . import expected
from .formats import Formats, plain
from .lake import Lake, arguments, raw_name, read_input, read_run
from .values import canonical

TOPIC_OF = {
    "Patient": "clinic.patient", "Practitioner": "clinic.practitioner", "Organization": "clinic.organization",
    "Location": "clinic.location", "Encounter": "clinic.encounter", "Condition": "clinic.condition",
    "MedicationRequest": "clinic.medication_request", "Observation": "clinic.observation", "DocumentReference": "clinic.document",
}  # fmt: skip


class Findings:
    """Differences, and how much was compared: a check that compares nothing has failed."""

    def __init__(self) -> None:
        self.differences: list[str] = []
        self.compared = Counter()

    def differ(self, sentence: str) -> None:
        self.differences.append(sentence)


def compare_curated(table: str, wanted: list[dict], found: list[dict], cells: int, dice: random.Random, findings: Findings) -> None:
    findings.compared["tables"] += 1
    if len(found) != len(wanted):
        findings.differ(f"curated.{table}: {len(found)} rows, {len(wanted)} expected")
    columns = list(wanted[0])
    if found and set(found[0]) != set(columns):
        odd = sorted(set(found[0]) ^ set(columns))
        findings.differ(f"curated.{table}: columns {', '.join(odd)} stand on one side only")
        return
    keys = expected.KEYS[table]
    by_key = {tuple(canonical(row[key]) for key in keys): row for row in found}
    if len(by_key) != len(found):
        findings.differ(f"curated.{table}: {len(found) - len(by_key)} rows repeat a key")
    for column in columns:
        nulls_wanted, nulls_found = (sum(row[column] is None for row in rows) for rows in (wanted, found))
        findings.compared["columns"] += 1
        if nulls_wanted * max(len(found), 1) != nulls_found * len(wanted):
            findings.differ(f"curated.{table}.{column}: {nulls_found} of {len(found)} are NULL, {nulls_wanted} of {len(wanted)} expected")
        wrong = absent = 0
        for row in dice.sample(wanted, min(cells, len(wanted))):
            other = by_key.get(tuple(canonical(row[key]) for key in keys))
            findings.compared["cells"] += 1
            if other is None:
                absent += 1
            elif canonical(other[column]) != canonical(row[column]):
                wrong += 1
        if wrong or absent:
            findings.differ(f"curated.{table}.{column}: {wrong} cells differ and {absent} are absent of {min(cells, len(wanted))}")


def compare_raw(topic: str, payloads: list[dict], found: list[dict], formats: Formats, findings: Findings) -> None:
    name = raw_name(topic)
    findings.compared["raw tables"] += 1
    if len(found) != len(payloads):
        findings.differ(f"{name}: {len(found)} rows, {len(payloads)} expected")
    positions = {(row["source"], row["topic"], row["partition"], row["offset"]) for row in found}
    if len(positions) != len(found):
        findings.differ(f"{name}: {len(found) - len(positions)} positions stand there twice")
    for partition, offsets in offsets_by_partition(found).items():
        if sorted(offsets) != list(range(len(offsets))):
            findings.differ(f"{name}: the offsets of partition {partition} have gaps")
    wanted = Counter(json.dumps(plain(payload), sort_keys=True) for payload in payloads)
    seen = Counter(json.dumps(formats.record(topic, row["payload"]), sort_keys=True) for row in found)
    if wanted != seen:
        findings.differ(f"{name}: {sum((wanted - seen).values())} payloads are missing, {sum((seen - wanted).values())} are foreign")


def offsets_by_partition(rows: list[dict]) -> dict[int, list[int]]:
    offsets: dict[int, list[int]] = {}
    for row in rows:
        offsets.setdefault(row["partition"], []).append(row["offset"])
    return offsets


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--cells", type=int, default=200, help="of each column, drawn at random")
    options = parser.parse_args()
    run = read_run(options.run)
    resources, derived = read_input(options.derived)
    lake, findings, dice = Lake(run), Findings(), random.Random(options.seed)

    for table, wanted in expected.tables(resources, derived, Path(run["lakehouse"]) / "reference").items():
        compare_curated(table, wanted, lake.rows(f"curated.{table}"), options.cells, dice, findings)
    sent = {TOPIC_OF[kind]: records for kind, records in resources.items() if kind in TOPIC_OF} | derived
    formats = Formats(run)
    for topic, payloads in sent.items():
        compare_raw(topic, payloads, lake.rows(raw_name(topic)), formats, findings)
        letters = lake.rows(f"{raw_name(topic)}__dead_letter")
        if letters:
            reasons = Counter(row["reason"] for row in letters)
            findings.differ(f"{topic}: {len(letters)} dead letters: {dict(reasons.most_common(5))}")

    print(f"seed {options.seed}; compared {dict(findings.compared)}; {len(findings.differences)} differences")
    verdict.give(findings.differences)


if __name__ == "__main__":
    main()
