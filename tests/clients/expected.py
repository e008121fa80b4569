"""What each curated table must hold, read from the JSON alone by plain Python.

Written from DOMAIN and the contracts' descriptions, in the plainest way, and on purpose without SQL. It knows as much of
FHIR as Synthea's bundles and the derived records use.
"""

import base64
import datetime
import hashlib
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path

from .codes import Codes
from .derive import bare

Row = dict[str, object]

KEYS = {
    "patients": ("patient_id",),
    "practitioners": ("practitioner_id",),
    "clinics": ("clinic_id",),
    "appointments": ("appointment_id",),
    "encounters": ("encounter_id",),
    "conditions": ("condition_id",),
    "observations": ("observation_id", "component"),
    "medication_requests": ("medication_request_id",),
    "consents": ("patient_id", "purpose"),
    "documents": ("document_id",),
    "payments": ("payment_id",),
    "stock_movements": ("movement_id",),
}


def instant(text: str | None) -> datetime.datetime | None:
    return text and datetime.datetime.fromisoformat(text).astimezone(datetime.UTC)


def first(items: list | None) -> dict:
    return items[0] if items else {}


def coding(concept: dict | None) -> dict:
    return first((concept or {}).get("coding"))


def by_system(items: Iterable[dict], system: str) -> str | None:
    return next((item["value"] for item in items if item.get("system") == system), None)


def identifier(resource: dict, codes: set[str], system: str | None = None) -> str | None:
    for item in resource.get("identifier", []):
        if coding(item.get("type")).get("code") in codes or (system and item.get("system") == system):
            return item["value"]
    return None


class Reading:
    """Rows of the curated tables from resources and derived records."""

    def __init__(self, codes: Codes):
        self.codes = codes

    def sensitivity(self, codings: Iterable[dict], needs_a_code: bool = False) -> str:
        codings = list(codings)
        special = any(self.codes.special(one.get("system"), one.get("code")) for one in codings)
        return "special" if special or (needs_a_code and not codings) else "ordinary"

    def display(self, one: dict) -> str | None:
        return one.get("display") if self.codes.known(one.get("system")) else None

    def patients(self, resource: dict) -> Iterable[Row]:
        names = resource["name"]
        name = next((one for one in names if one.get("use") == "official"), names[0])
        address = first(resource.get("address"))
        telecom = resource.get("telecom", [])
        yield {
            "patient_id": resource["id"],
            "family_name": name["family"],
            "given_names": " ".join(name["given"]),
            "phone": by_system(telecom, "phone"),
            "email": by_system(telecom, "email"),
            "national_id": identifier(resource, {"SS", "NI"}, "http://hl7.org/fhir/sid/us-ssn"),
            "insurance_number": identifier(resource, {"MB", "SN", "HC", "MA", "MC"}),
            "address_line": ", ".join(address["line"]) if address.get("line") else None,
            "birth_date": datetime.date.fromisoformat(resource["birthDate"]),
            "gender": resource.get("gender"),
            "city": address.get("city"),
            "region": address.get("state"),
            "postal_code": address.get("postalCode"),
            "deceased_at": instant(resource.get("deceasedDateTime")),
        }

    def practitioners(self, resource: dict) -> Iterable[Row]:
        name = resource["name"][0]
        yield {
            "practitioner_id": resource["id"],
            "family_name": name["family"],
            "given_names": " ".join(name["given"]),
            "specialty": coding(first(resource.get("qualification")).get("code")).get("display"),
            "license_number": identifier(resource, {"MD", "LN", "NPI"}, "http://hl7.org/fhir/sid/us-npi"),
        }

    def clinics(self, resource: dict) -> Iterable[Row]:
        address = resource["address"]
        yield {
            "clinic_id": bare(resource["managingOrganization"]["reference"]),
            "name": resource["name"],
            "city": address.get("city"),
            "address_line": ", ".join(address["line"]),
            "phone": by_system(resource.get("telecom", []), "phone"),
            "time_zone": next((one["valueCode"] for one in resource.get("extension", []) if one["url"].endswith("/timezone")), None),
        }

    def appointments(self, resource: dict) -> Iterable[Row]:
        ids: dict[str, str] = {}
        for place, participant in enumerate(resource["participant"]):
            actor = participant["actor"]
            reference = actor["reference"]
            kind = actor.get("type") or (
                ("Patient", "Practitioner", "Location")[place] if reference.startswith("urn:") else reference.split("/")[0]
            )
            ids.setdefault(kind, bare(reference))
        codings = [one for concept in resource.get("serviceType", []) + resource.get("reasonCode", []) for one in concept.get("coding", [])]
        reason = first(resource.get("reasonCode"))
        yield {
            "appointment_id": resource["id"],
            "practitioner_id": ids.get("Practitioner"),
            "clinic_id": ids.get("Location"),
            "patient_id": ids.get("Patient"),
            "starts_at": instant(resource["start"]),
            "ends_at": instant(resource["end"]),
            "status": resource["status"],
            "reason": reason.get("text"),
            "sensitivity": self.sensitivity(codings),
        }

    def encounters(self, resource: dict) -> Iterable[Row]:
        kind, reason = coding(first(resource.get("type"))), first(resource.get("reasonCode"))
        codings = [one for concept in resource.get("type", []) + resource.get("reasonCode", []) for one in concept.get("coding", [])]
        yield {
            "encounter_id": resource["id"],
            "patient_id": bare(resource["subject"]["reference"]),
            "practitioner_id": bare(first(resource.get("participant"))["individual"]["reference"]),
            "clinic_id": bare(resource["serviceProvider"]["reference"]),
            "started_at": instant(resource["period"]["start"]),
            "ended_at": instant(resource["period"].get("end")),
            "class": resource["class"]["code"],
            "status": resource["status"],
            "type_code": kind.get("code"),
            "type_text": self.display(kind),
            "reason_code": coding(reason).get("code"),
            "reason_text": reason.get("text") or coding(reason).get("display"),
            "sensitivity": self.sensitivity(codings),
        }

    def conditions(self, resource: dict) -> Iterable[Row]:
        code = coding(resource.get("code"))
        yield {
            "condition_id": resource["id"],
            "patient_id": bare(resource["subject"]["reference"]),
            "encounter_id": bare(resource.get("encounter", {}).get("reference")),
            "practitioner_id": bare(resource.get("recorder", {}).get("reference")),
            "code": code.get("code"),
            "code_system": code.get("system"),
            "code_text": self.display(code),
            "clinical_status": coding(resource.get("clinicalStatus")).get("code"),
            "verification_status": coding(resource.get("verificationStatus")).get("code"),
            "onset_at": instant(resource.get("onsetDateTime")),
            "note": "\n".join(note["text"] for note in resource.get("note", [])) or None,
            "sensitivity": self.sensitivity(resource["code"]["coding"], needs_a_code=True),
        }

    def observations(self, resource: dict) -> Iterable[Row]:
        components = resource.get("component", [])
        values = [(number, part) for number, part in enumerate(components, 1)]
        if not components or any(key.startswith("value") for key in resource):
            values.insert(0, (0, resource))
        concepts = [one.get(key) for one in (resource, *components) for key in ("code", "valueCodeableConcept")]
        codings = [one for concept in concepts for one in (concept or {}).get("coding", [])]
        for number, value in values:
            code, answer = coding(value["code"]), value.get("valueCodeableConcept", {})
            quantity, limits = value.get("valueQuantity", {}), first(value.get("referenceRange"))
            amount = quantity.get("value", value.get("valueInteger"))
            yield {
                "observation_id": resource["id"],
                "component": number,
                "patient_id": bare(resource["subject"]["reference"]),
                "encounter_id": bare(resource.get("encounter", {}).get("reference")),
                "practitioner_id": bare(first(resource.get("performer")).get("reference")),
                "status": resource["status"],
                "category": coding(first(resource.get("category"))).get("code"),
                "code": code.get("code"),
                "code_system": code.get("system"),
                "code_text": self.display(code),
                "value": None if amount is None else float(amount),
                "value_comparator": quantity.get("comparator"),
                "unit": quantity.get("unit") or quantity.get("code"),
                "value_code": coding(answer).get("code"),
                "value_text": value.get("valueString") or answer.get("text"),
                "reference_low": _float(limits.get("low", {}).get("value")),
                "reference_high": _float(limits.get("high", {}).get("value")),
                "interpretation": coding(first(value.get("interpretation"))).get("code"),
                "effective_at": instant(resource.get("effectiveDateTime")),
                "note": ("\n".join(note["text"] for note in resource.get("note", [])) or None) if number <= 1 else None,
                "sensitivity": self.sensitivity(codings, needs_a_code=True),
            }

    def medication_requests(self, resource: dict) -> Iterable[Row]:
        code = coding(resource.get("medicationCodeableConcept"))
        texts = [dosage["text"] for dosage in resource.get("dosageInstruction", []) if dosage.get("text")]
        yield {
            "medication_request_id": resource["id"],
            "patient_id": bare(resource["subject"]["reference"]),
            "encounter_id": bare(resource.get("encounter", {}).get("reference")),
            "practitioner_id": bare(resource.get("requester", {}).get("reference")),
            "status": resource["status"],
            "code": code.get("code"),
            "code_text": self.display(code),
            "dosage_text": "\n".join(texts) or None,
            "authored_at": instant(resource["authoredOn"]),
            "sensitivity": self.sensitivity(resource["medicationCodeableConcept"]["coding"], needs_a_code=True),
        }

    def documents(self, resource: dict) -> Iterable[Row]:
        attachment = resource["content"][0]["attachment"]
        content = base64.b64decode(attachment["data"]) if "data" in attachment else None
        author = first(resource.get("author")).get("reference")
        yield {
            "document_id": resource["id"],
            "patient_id": bare(resource["subject"]["reference"]),
            "encounter_id": bare(resource["context"]["encounter"][0]["reference"]),
            "practitioner_id": bare(author),
            "clinic_id": bare(resource.get("custodian", {}).get("reference")),
            "type_code": coding(resource["type"]).get("code"),
            "title": attachment.get("title") or resource.get("description"),
            "content_type": attachment["contentType"],
            "size_bytes": attachment["size"] if content is None else len(content),
            "sha256": None if content is None else hashlib.sha256(content).hexdigest(),
            "created_at": instant(resource["date"]),
            "content": content,
            "content_url": attachment["url"] if content is None else None,
            "sensitivity": self.sensitivity(resource["type"]["coding"], needs_a_code=True),
        }

    def consents(self, resource: dict) -> Iterable[Row]:
        yield {
            "patient_id": bare(resource["patient"]["reference"]),
            "purpose": resource["scope"]["coding"][0]["code"],
            "granted": resource["status"] == "active" and resource["provision"]["type"] == "permit",
            "expires_at": instant(resource["provision"].get("period", {}).get("end")),
            "recorded_at": instant(resource["dateTime"]),
        }

    def payments(self, record: dict) -> Iterable[Row]:
        services = record["services"]
        special = any(self.codes.listed_anywhere(service["code"]) for service in services)
        yield {
            "payment_id": record["payment_id"],
            "patient_id": record["patient_id"],
            "encounter_id": record["encounter_id"],
            "clinic_id": record["clinic_id"],
            "amount": Decimal(str(record["amount"])).quantize(Decimal("0.01")),
            "currency": record["currency"],
            "method": record["method"],
            "paid_at": instant(record["paid_at"]),
            "services": "; ".join(f"{service['code']} {service['text']}" for service in services) or None,
            "sensitivity": "special" if special else "ordinary",
        }

    def stock_movements(self, record: dict) -> Iterable[Row]:
        yield {
            "movement_id": record["movement_id"],
            "clinic_id": record["clinic_id"],
            "item_code": record["item_code"],
            "item_name": record["item_name"],
            "batch": record["batch"],
            "quantity": float(record["quantity"]),
            "movement_reason": record["reason"],
            "moved_at": instant(record["moved_at"]),
        }


def _float(value: float | None) -> float | None:
    return None if value is None else float(value)


def tables(resources: dict[str, list[dict]], derived: dict[str, list[dict]], reference: Path) -> dict[str, list[Row]]:
    """The rows of every curated table; of a key the last record counts, and of a consent the newest."""
    reading = Reading(Codes.read(reference))
    sources: list[tuple[str, Callable[[dict], Iterable[Row]], list[dict]]] = [
        ("patients", reading.patients, resources["Patient"]),
        ("practitioners", reading.practitioners, resources["Practitioner"]),
        ("clinics", reading.clinics, resources["Location"]),
        ("appointments", reading.appointments, derived["clinic.appointment"]),
        ("encounters", reading.encounters, resources["Encounter"]),
        ("conditions", reading.conditions, resources["Condition"]),
        ("observations", reading.observations, resources["Observation"]),
        ("medication_requests", reading.medication_requests, resources["MedicationRequest"]),
        ("consents", reading.consents, sorted(derived["clinic.consent"], key=lambda consent: consent["meta"]["lastUpdated"])),
        ("documents", reading.documents, resources["DocumentReference"]),
        ("payments", reading.payments, derived["erp.payment"]),
        ("stock_movements", reading.stock_movements, derived["erp.stock_movement"]),
    ]
    found: dict[str, list[Row]] = {}
    for table, read, records in sources:
        rows = {tuple(row[key] for key in KEYS[table]): row for record in records for row in read(record)}
        found[table] = list(rows.values())
    return found
