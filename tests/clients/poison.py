"""Records that nobody should send, and what each gets: a dead letter with its reason or its declared meaning; neighbours land.

All go to one partition, a good record before and a good one after: when the last has landed, everything before it has.
Each other topic gets one that is no JSON, so that every table of dead letters holds something. All carry a header.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from confluent_kafka import Producer

from . import verdict
from .lake import Lake, raw_name, read_run

TOPIC, RAW, CURATED = "clinic.practitioner", "raw.clinic_practitioner", "curated.practitioners"
PARTITION = 0
PATIENCE = 90.0
DEPTH = 10_000
LARGE = 10_000_000


def practitioner(identity: str, **more: object) -> bytes:
    return json.dumps({"resourceType": "Practitioner", "id": identity, "name": [{"family": "Poison"}], **more}).encode()


# What is sent: key, payload, and the beginning of the reason it gets (None: it is good).
RECORDS: list[tuple[str, bytes | None, str | None]] = [
    ("poison-before", practitioner("poison-before"), None),
    ("poison-gone", practitioner("poison-gone"), None),
    ("poison-long", practitioner("poison-long", text={"div": "x" * (LARGE // 2)}), None),
    ("poison-large", practitioner("poison-large", text={"div": "x" * LARGE}), "payload.size"),
    ("poison-deep", b'{"id": "poison-deep", "a": ' + b"[" * DEPTH + b"]" * DEPTH + b"}", "json.depth"),
    ("poison-deep-open", b'{"a":' * DEPTH, "json.depth"),
    ("poison-utf8", b'{"id": "poison-\xff\xfe"}', "json.utf8"),
    ("poison-none", b"this is no JSON", "json.syntax"),
    ("poison-cut", practitioner("poison-cut")[:-5], "json.truncated"),
    ("poison-empty", b"", "json.empty"),
    ("poison-array", b"[1, 2, 3]", "json.type"),
    ("poison-more", b"{}{}", "json.trailing"),
    ("poison-type", b'{"resourceType": "Practitioner", "id": "poison-type", "name": "a text"}', "json.type"),
    ("poison-keyless", b'{"resourceType": "Practitioner", "name": [{"family": "Poison"}]}', "required:practitioner_id"),
    ("poison-late", practitioner("poison-late", meta={"lastUpdated": "30000-01-01T00:00:00Z"}), "value.time: $.meta.lastUpdated"),
    ("poison-key", practitioner("poison-other-key"), "key.contradicts: $.id"),
    ("poison-framed", b"\0\0\0\0\x07" + practitioner("poison-framed"), None),
    ("poison-twice", b'{"resourceType": "Practitioner", "id": "poison-first", "id": "poison-twice"}', None),
    ("poison-gone", None, None),
    ("poison-after", practitioner("poison-after"), None),
]
# What every other topic gets.
OTHER = ("poison-other", b"this is no JSON either", "json.syntax")
FRAMED = {"erp.payment", "erp.stock_movement"}
HEADERS = [("origin", b"poison")]
# In the curated table at the end. Of a key that stands twice the last one counts, as in most readers of JSON.
STAND = {"poison-before", "poison-long", "poison-twice", "poison-framed", "poison-after"}


def reason_of(topic: str) -> str:
    """Of what every other topic gets."""
    return "framing.missing" if topic in FRAMED else OTHER[2]


def send(run: dict, others: list[str]) -> dict[int, tuple[str, bytes | None, str | None]]:
    """Sends them all; gives those of the one topic by offset."""
    kafka = run["parts"]["kafka"]
    user = kafka["users"]["producer"]
    producer = Producer({
        "bootstrap.servers": kafka["bootstrap"],
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": kafka["mechanism"],
        "sasl.username": user["name"],
        "sasl.password": Path(user["password_file"]).read_text().strip(),
        "ssl.ca.location": kafka["ca"],
        "message.max.bytes": 2 * LARGE,
    })
    by_offset, failures = {}, []

    def delivered(record: tuple[str, bytes | None, str | None]) -> Callable:
        def note(error: object, message: object) -> None:
            if error:
                failures.append(f"{record[0]}: {error}")
            elif message.topic() == TOPIC:
                by_offset[message.offset()] = record

        return note

    for record in RECORDS:
        producer.produce(TOPIC, key=record[0].encode(), value=record[1], partition=PARTITION, headers=HEADERS, on_delivery=delivered(record))
    for topic in others:
        producer.produce(topic, key=OTHER[0].encode(), value=OTHER[1], partition=PARTITION, headers=HEADERS, on_delivery=delivered(OTHER))
    producer.flush(60)
    if failures or len(by_offset) != len(RECORDS):
        sys.exit(f"the broker took {len(by_offset)} of {len(RECORDS)} records: {failures}")
    return by_offset


def until(what: str, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            sys.exit(f"after {PATIENCE:.0f} s still not: {what}")
        time.sleep(0.5)


def at(rows: list[dict], offsets: dict) -> dict[int, dict]:
    return {row["offset"]: row for row in rows if row["partition"] == PARTITION and row["offset"] in offsets}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="run.json of `python -m parts config`")
    run = read_run(parser.parse_args().run)
    lake = Lake(run)
    others = [topic for topic in run["parts"]["kafka"]["topics"] if topic != TOPIC]
    sent = send(run, others)
    bad = {offset: reason for offset, (_, _, reason) in sent.items() if reason}

    def standing() -> set[str]:
        return {row["practitioner_id"] for row in lake.rows(CURATED) if row["practitioner_id"].startswith("poison-")}

    until("the last good record is curated", lambda: "poison-after" in standing())
    until("every bad record is a dead letter", lambda: len(at(lake.rows(f"{RAW}__dead_letter"), sent)) >= len(bad))

    for topic in others:
        until(f"{topic} has its dead letter", lambda topic=topic: [row["reason"].split(": ")[0] for row in lake.rows(f"{raw_name(topic)}__dead_letter")] == [reason_of(topic)])

    differences = []
    letters, raw = at(lake.rows(f"{RAW}__dead_letter"), sent), at(lake.rows(RAW), sent)
    for offset, (name, payload, reason) in sorted(sent.items()):
        if offset not in raw or raw[offset]["payload"] != payload:
            differences.append(f"{name}: its bytes do not stand in {RAW} as they were sent")
        letter = letters.get(offset)
        if reason is None and letter:
            differences.append(f"{name}: is a dead letter for `{letter['reason']}`, and should not be")
        if reason is not None and (letter is None or not letter["reason"].startswith(reason) or letter["payload"] != payload):
            differences.append(f"{name}: expected a dead letter for `{reason}` with its payload, found `{letter and letter['reason']}`")
    if standing() != STAND:
        differences.append(f"{CURATED}: found {sorted(standing())}, expected {sorted(STAND)}")
    print(f"{len(sent)} records, {len(letters)} dead letters; {len(differences)} differences")
    verdict.give(differences)


if __name__ == "__main__":
    main()
