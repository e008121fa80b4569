"""Makes what Synthea does not have, by a fixed rule: appointments, consents, payments and stock movements.

From each Encounter an appointment, from each Claim a payment, from each patient consents, from each seventh Encounter a
stock movement. Besides, each patient is booked once with whoever was seen last, a week after `--now`, and once with
somebody else, which is cancelled. To these come the records of `full.py`, whose resources stand in a bundle of their own.
Writes one NDJSON file per topic, the bundle, and the list of all bundles; the same input gives the same bytes.
"""

import argparse
import datetime
import hashlib
import json
import uuid
from collections.abc import Iterator
from pathlib import Path

from . import full

# In the folder of the derived records: the paths of all bundles, these records' own included.
BUNDLES = "bundles.json"
KEYS = {"clinic.appointment": "id", "clinic.consent": "id", "erp.payment": "payment_id", "erp.stock_movement": "movement_id"}
ITEMS = [("GLV-100", "Examination gloves"), ("SYR-005", "Syringe 5 ml"), ("BND-010", "Elastic bandage"), ("SWB-200", "Alcohol swab")]


def load(bundles: list[Path]) -> dict[str, list[dict]]:
    """All resources by type, in the order of the bundles."""
    resources: dict[str, list[dict]] = {}
    for path in bundles:
        for entry in json.loads(path.read_text())["entry"]:
            resources.setdefault(entry["resource"]["resourceType"], []).append(entry["resource"])
    return resources


def bare(reference: str | None) -> str | None:
    """The id behind `urn:uuid:<id>` or `Type/<id>`."""
    return reference and reference.rsplit(":", 1)[-1].rsplit("/", 1)[-1]


def new_id(*words: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(("lakeward-tests", *words))))


def dice(text: str, sides: int) -> int:
    """A number that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % sides


def appointment(identity: str, encounter: dict, practitioner: str, clinic: str, status: str, start: str, end: str, style: int) -> dict:
    patient = bare(encounter["subject"]["reference"])
    # Both ways to write a reference; a urn tells nothing about its kind, so its place or `type` does.
    if style == 0:
        actors = [{"reference": f"Patient/{patient}"}, {"reference": f"Practitioner/{practitioner}"}, {"reference": f"Location/{clinic}"}]
    elif style == 1:
        actors = [{"reference": f"urn:uuid:{one}"} for one in (patient, practitioner, clinic)]
    else:
        actors = [
            {"reference": f"urn:uuid:{clinic}", "type": "Location"},
            {"reference": f"urn:uuid:{patient}", "type": "Patient"},
            {"reference": f"urn:uuid:{practitioner}", "type": "Practitioner"},
        ]
    reason = [{"text": encounter["reasonCode"][0]["text"]}] if encounter.get("reasonCode") else []
    return {
        "resourceType": "Appointment",
        "id": identity,
        "status": status,
        "serviceType": [{"coding": encounter["type"][0]["coding"]}],
        **({"reasonCode": reason} if reason else {}),
        "start": start,
        "end": end,
        "participant": [{"actor": actor, "status": "accepted"} for actor in actors],
    }


def appointments(encounters: list[dict], now: datetime.datetime) -> Iterator[dict]:
    newest: dict[str, dict] = {}
    staff = sorted({bare(encounter["participant"][0]["individual"]["reference"]) for encounter in encounters})
    for encounter in encounters:
        practitioner = bare(encounter["participant"][0]["individual"]["reference"])
        clinic = bare(encounter["serviceProvider"]["reference"])
        status = ["fulfilled"] * 7 + ["arrived", "noshow", "cancelled"]
        period = encounter["period"]
        yield appointment(
            new_id("appointment", encounter["id"]), encounter, practitioner, clinic,
            status[dice(encounter["id"], len(status))], period["start"], period["end"], dice(encounter["id"], 3),
        )  # fmt: skip
        patient = bare(encounter["subject"]["reference"])
        if patient not in newest or newest[patient]["period"]["start"] < period["start"]:
            newest[patient] = encounter
    for patient, encounter in sorted(newest.items()):
        seen = bare(encounter["participant"][0]["individual"]["reference"])
        clinic = bare(encounter["serviceProvider"]["reference"])
        other = staff[(staff.index(seen) + 1) % len(staff)]
        start = now + datetime.timedelta(days=7)
        for name, practitioner, status in (("next", seen, "booked"), ("off", other, "cancelled")):
            end = start + datetime.timedelta(minutes=20)
            yield appointment(new_id(name, patient), encounter, practitioner, clinic, status, start.isoformat(), end.isoformat(), 0)


def consents(patients: list[dict]) -> Iterator[dict]:
    scope = "http://terminology.hl7.org/CodeSystem/consentscope"
    for patient in patients:
        versions = [("research", "permit", "2024-03-01T09:00:00Z")]
        if dice(patient["id"], 2):
            versions.append(("research", "deny", "2025-06-01T09:00:00Z"))
        versions.append(("contact", "permit", "2024-03-01T09:00:00Z"))
        for number, (purpose, kind, recorded) in enumerate(versions):
            yield {
                "resourceType": "Consent",
                "id": new_id("consent", patient["id"], str(number)),
                "meta": {"lastUpdated": recorded},
                "status": "active",
                "scope": {"coding": [{"system": scope, "code": purpose}]},
                "patient": {"reference": f"Patient/{patient['id']}"},
                "dateTime": recorded,
                "provision": {"type": kind},
            }


def payments(claims: list[dict]) -> Iterator[dict]:
    for claim in claims:
        encounter = next((bare(reference["reference"]) for item in claim["item"] for reference in item.get("encounter", [])), None)
        codings = [coding for item in claim["item"] for coding in item["productOrService"].get("coding", [])[:1]]
        yield {
            "payment_id": new_id("payment", claim["id"]),
            "patient_id": bare(claim["patient"]["reference"]),
            "encounter_id": encounter,
            "clinic_id": bare(claim["provider"]["reference"]),
            "services": [{"code": coding["code"], "text": coding["display"]} for coding in codings],
            "amount": round(claim["total"]["value"], 2),
            "currency": claim["total"]["currency"],
            "method": ("card", "cash", "insurance")[dice(claim["id"], 3)],
            "paid_at": claim["created"],
        }


def movements(encounters: list[dict]) -> Iterator[dict]:
    for number, encounter in enumerate(encounters):
        if number % 7:
            continue
        code, name = ITEMS[dice(encounter["id"], len(ITEMS))]
        receipt = dice(encounter["id"], 5) == 0
        yield {
            "movement_id": new_id("movement", encounter["id"]),
            "item_code": code,
            "item_name": name,
            "batch": f"B{dice(encounter['id'], 900) + 100}",
            "clinic_id": bare(encounter["serviceProvider"]["reference"]),
            "quantity": 100 if receipt else -1 - dice(encounter["id"], 4),
            "reason": "receipt" if receipt else "issue",
            "moved_at": encounter["period"]["start"],
        }


def derive(resources: dict[str, list[dict]], now: datetime.datetime) -> dict[str, list[dict]]:
    """The records of each topic, in the order in which they are sent."""
    complete = full.derived(now)
    return {
        "clinic.appointment": [*appointments(resources["Encounter"], now), *complete["clinic.appointment"]],
        "clinic.consent": [*consents(resources["Patient"]), *complete["clinic.consent"]],
        "erp.payment": [*payments(resources["Claim"]), *complete["erp.payment"]],
        "erp.stock_movement": list(movements(resources["Encounter"])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundles", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True, help="folder of the NDJSON files")
    parser.add_argument("--now", type=datetime.datetime.fromisoformat, help="RFC 3339; the present day's noon without it")
    arguments = parser.parse_args()
    now = arguments.now or datetime.datetime.now(datetime.UTC).replace(hour=12, minute=0, second=0, microsecond=0)
    arguments.out.mkdir(parents=True, exist_ok=True)
    full_bundle = arguments.out.resolve() / "full.bundle.json"
    full_bundle.write_text(json.dumps(full.bundle(now)))
    (arguments.out / BUNDLES).write_text(json.dumps([*(str(path.resolve()) for path in arguments.bundles), str(full_bundle)]))
    for topic, records in derive(load(arguments.bundles), now).items():
        lines = "".join(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n" for record in records)
        (arguments.out / f"{topic}.ndjson").write_text(lines)
        print(f"{topic}: {len(records)} records, key {KEYS[topic]}")


if __name__ == "__main__":
    main()
