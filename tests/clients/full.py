"""Records in which no field is empty, where Synthea leaves fifteen columns NULL: what is NULL anyway cannot leak.

Two patients, each with an ordinary and a special visit: one is treated by the doctor of these records, the other elsewhere
by somebody else, and only booked with that doctor. So each scope holds rows that no other scope of the same person holds,
and leaves some out.
"""

import base64
import datetime
from collections.abc import Iterator

PATIENT, BOOKED_PATIENT = "full-patient", "full-booked-patient"
DOCTOR, OTHER_DOCTOR = "full-doctor", "full-other-doctor"
CLINIC, OTHER_CLINIC = "full-clinic", "full-other-clinic"
PATIENTS = {PATIENT, BOOKED_PATIENT}

SNOMED, LOINC = "http://snomed.info/sct", "http://loinc.org"
RXNORM, UNITS = "http://www.nlm.nih.gov/research/umls/rxnorm", "http://unitsofmeasure.org"
HL7 = "http://terminology.hl7.org/CodeSystem"


def concept(system: str, code: str, display: str, **more: object) -> dict:
    return {"coding": [{"system": system, "code": code, "display": display}], **more}


CODES = {
    "ordinary": {
        "reason": concept(SNOMED, "314529007", "Medication review due", text="came for a review, full"),
        "diagnosis": concept(SNOMED, "38341003", "Hypertension", text="high pressure, full"),
        "medicine": concept(RXNORM, "314076", "lisinopril 10 MG Oral Tablet"),
        "document": concept(LOINC, "34117-2", "History and physical note"),
        "service": {"code": "REV-1", "text": "review, full"},
    },
    "special": {
        "reason": concept(SNOMED, "86406008", "Human immunodeficiency virus infection", text="came for that, full"),
        "diagnosis": concept(SNOMED, "86406008", "Human immunodeficiency virus infection", text="that, full"),
        "medicine": concept(RXNORM, "314076", "lisinopril 10 MG Oral Tablet"),
        "document": concept(LOINC, "34117-2", "History and physical note"),
        "service": {"code": "86406008", "text": "that, full"},
    },
}


def patient(identity: str, clinic: str, now: datetime.datetime) -> dict:
    return {
        "resourceType": "Patient",
        "id": identity,
        "identifier": [
            {"type": concept(f"{HL7}/v2-0203", "SS", "Social Security number"), "value": f"ssn of {identity}"},
            {"type": concept(f"{HL7}/v2-0203", "MB", "Member number"), "value": f"insurance of {identity}"},
        ],
        "name": [{"use": "official", "family": f"Family of {identity}", "given": ["Full", identity]}],
        "telecom": [{"system": "phone", "value": f"phone of {identity}"}, {"system": "email", "value": f"{identity}@example.org"}],
        "gender": "other",
        "birthDate": "1931-07-08",
        # Who has died still has the records; nobody living has this column.
        "deceasedDateTime": (now - datetime.timedelta(days=2)).isoformat(),
        "address": [{"line": [f"Line of {identity}"], "city": "Fulltown", "state": "Fullstate", "postalCode": "98765"}],
        "managingOrganization": {"reference": f"Organization/{clinic}"},
    }


def practitioner(identity: str) -> dict:
    return {
        "resourceType": "Practitioner",
        "id": identity,
        "identifier": [{"system": "http://hl7.org/fhir/sid/us-npi", "value": f"license of {identity}"}],
        "name": [{"family": f"Family of {identity}", "given": ["Full"]}],
        "qualification": [{"code": concept(f"{HL7}/v2-0360", "MD", f"Specialty of {identity}")}],
    }


def clinic(identity: str) -> dict:
    return {
        "resourceType": "Location",
        "id": f"{identity}-house",
        "name": f"Name of {identity}",
        "telecom": [{"system": "phone", "value": f"phone of {identity}"}],
        "address": {"line": [f"Line of {identity}"], "city": "Fulltown"},
        "managingOrganization": {"reference": f"Organization/{identity}"},
        "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/timezone", "valueCode": "Europe/Prague"}],
    }


class Visit:
    """One encounter and all that came of it; `kind` is ordinary or special."""

    def __init__(self, whose: str, doctor: str, place: str, kind: str, at: datetime.datetime):
        self.whose, self.doctor, self.place, self.kind, self.at = whose, doctor, place, kind, at
        self.codes = CODES[kind]
        self.id = f"{whose}-{kind}"
        self.end = at + datetime.timedelta(minutes=20)
        self.by = {"reference": f"Practitioner/{doctor}"}
        self.of = {"subject": {"reference": f"Patient/{whose}"}, "encounter": {"reference": f"Encounter/{self.id}"}}

    def resources(self) -> Iterator[dict]:
        yield {
            "resourceType": "Encounter",
            "id": self.id,
            "status": "finished",
            "class": {"system": f"{HL7}/v3-ActCode", "code": "AMB"},
            "type": [concept(SNOMED, "162673000", "General examination of patient")],
            "subject": self.of["subject"],
            "participant": [{"individual": self.by}],
            "period": {"start": self.at.isoformat(), "end": self.end.isoformat()},
            "reasonCode": [self.codes["reason"]],
            "serviceProvider": {"reference": f"Organization/{self.place}"},
        }
        yield {
            "resourceType": "Condition",
            "id": f"{self.id}-condition",
            **self.of,
            "clinicalStatus": concept(f"{HL7}/condition-clinical", "active", "Active"),
            "verificationStatus": concept(f"{HL7}/condition-ver-status", "confirmed", "Confirmed"),
            "code": self.codes["diagnosis"],
            "onsetDateTime": self.at.isoformat(),
            "recorder": self.by,
            "note": [{"text": f"note of {self.id}"}, {"text": "and a second one"}],
        }
        values = {
            "measured": {"valueQuantity": {"value": 7.25, "comparator": "<", "unit": "mmol/L", "system": UNITS, "code": "mmol/L"}},
            "answered": {"valueCodeableConcept": concept(SNOMED, "260385009", "Negative", text=f"answer of {self.id}")},
        }
        for name, value in values.items():
            yield {
                "resourceType": "Observation",
                "id": f"{self.id}-{name}",
                **self.of,
                "status": "final",
                "category": [concept(f"{HL7}/observation-category", "laboratory", "Laboratory")],
                "code": concept(LOINC, "2339-0", "Glucose [Mass/volume] in Blood"),
                "effectiveDateTime": self.at.isoformat(),
                "performer": [self.by],
                **value,
                "interpretation": [concept(f"{HL7}/v3-ObservationInterpretation", "N", "Normal")],
                "referenceRange": [{"low": {"value": 3.5}, "high": {"value": 9.75}}],
                "note": [{"text": f"note of {self.id}-{name}"}],
            }
        yield {
            "resourceType": "MedicationRequest",
            "id": f"{self.id}-medication",
            **self.of,
            "status": "active",
            "intent": "order",
            "medicationCodeableConcept": self.codes["medicine"],
            "authoredOn": self.at.isoformat(),
            "requester": self.by,
            "dosageInstruction": [{"text": f"dosage of {self.id}"}],
        }
        text = f"text of {self.id}".encode()
        attachments = {
            "inline": {"data": base64.b64encode(text).decode()},
            "elsewhere": {"url": f"https://files.example.org/{self.id}", "size": 4711},
        }
        for name, attachment in attachments.items():
            yield {
                "resourceType": "DocumentReference",
                "id": f"{self.id}-{name}",
                "status": "current",
                "type": self.codes["document"],
                "subject": self.of["subject"],
                "date": self.at.isoformat(),
                "author": [self.by],
                "custodian": {"reference": f"Organization/{self.place}"},
                "content": [{"attachment": {"contentType": "text/plain", "title": f"title of {self.id}", **attachment}}],
                "context": {"encounter": [self.of["encounter"]]},
            }

    def appointment(self, identity: str, doctor: str, status: str, start: datetime.datetime) -> dict:
        actors = (f"Patient/{self.whose}", f"Practitioner/{doctor}", f"Location/{self.place}")
        return {
            "resourceType": "Appointment",
            "id": identity,
            "status": status,
            "reasonCode": [self.codes["reason"]],
            "start": start.isoformat(),
            "end": (start + datetime.timedelta(minutes=20)).isoformat(),
            "participant": [{"actor": {"reference": actor}, "status": "accepted"} for actor in actors],
        }

    def payment(self) -> dict:
        return {
            "payment_id": f"{self.id}-payment",
            "patient_id": self.whose,
            "encounter_id": self.id,
            "clinic_id": self.place,
            "services": [self.codes["service"]],
            "amount": 120.5,
            "currency": "EUR",
            "method": "card",
            "paid_at": self.end.isoformat(),
        }


def visits(now: datetime.datetime) -> list[Visit]:
    return [
        Visit(whose, doctor, place, kind, now - datetime.timedelta(days=days))
        for whose, doctor, place in ((PATIENT, DOCTOR, CLINIC), (BOOKED_PATIENT, OTHER_DOCTOR, OTHER_CLINIC))
        for kind, days in (("ordinary", 40), ("special", 41))
    ]


def bundle(now: datetime.datetime) -> dict:
    """What comes as FHIR, like Synthea's bundles."""
    resources = [
        *(patient(identity, place, now) for identity, place in ((PATIENT, CLINIC), (BOOKED_PATIENT, OTHER_CLINIC))),
        *map(practitioner, (DOCTOR, OTHER_DOCTOR)),
        *map(clinic, (CLINIC, OTHER_CLINIC)),
        *(resource for visit in visits(now) for resource in visit.resources()),
    ]
    return {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": resource} for resource in resources]}


def derived(now: datetime.datetime) -> dict[str, list[dict]]:
    """What Synthea does not have, by topic."""
    soon = now + datetime.timedelta(days=6)
    all_visits = visits(now)
    appointments = []
    for visit in all_visits:
        appointments.append(visit.appointment(f"{visit.id}-was", visit.doctor, "fulfilled", visit.at))
        if visit.whose == BOOKED_PATIENT:
            appointments.append(visit.appointment(f"{visit.id}-next", DOCTOR, "booked", soon))
    consents = [
        {
            "resourceType": "Consent",
            "id": f"{whose}-consent",
            "meta": {"lastUpdated": "2026-01-02T09:00:00Z"},
            "status": "active",
            "scope": {"coding": [{"system": f"{HL7}/consentscope", "code": "research"}]},
            "patient": {"reference": f"Patient/{whose}"},
            "dateTime": "2026-01-02T09:00:00Z",
            # The other one's records are all there too, and no research may see them.
            "provision": {"type": "permit" if whose == PATIENT else "deny", "period": {"end": "2031-01-02T09:00:00Z"}},
        }
        for whose in sorted(PATIENTS)
    ]
    return {"clinic.appointment": appointments, "clinic.consent": consents, "erp.payment": [visit.payment() for visit in all_visits]}
