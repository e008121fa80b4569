"""The people of DOMAIN, given ids of the data so that each of their scopes holds something."""

import datetime
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from . import full

FULL_DOCTOR = "full doctor"
Tables = dict[str, list[dict]]


@dataclass(frozen=True)
class Person:
    """Someone who asks: the claims of the token, the purpose of the request, and the role it activates."""

    name: str
    purpose: str
    active: tuple[str, ...]
    claims: dict = field(default_factory=dict)
    with_token: bool = True

    @property
    def attributes(self) -> dict:
        return {name: value for name, value in self.claims.items() if name != "roles"}


def choose(tables: Tables, now: datetime.datetime) -> list[Person]:
    """Somebody in every role. Who treats many recently becomes the doctor; who treats next to many the head.

    They come from Synthea's records. Beside them stand people of the full records, who see every column filled.
    """
    tables = {name: [row for row in rows if row.get("patient_id") not in full.PATIENTS] for name, rows in tables.items()}
    recent = now - datetime.timedelta(days=700)
    treated: dict[str, set[str]] = defaultdict(set)
    clinics_of: dict[str, Counter] = defaultdict(Counter)
    for encounter in tables["encounters"]:
        clinics_of[encounter["patient_id"]][encounter["clinic_id"]] += 1
        if recent < encounter["started_at"] <= now:
            treated[encounter["practitioner_id"]].add(encounter["patient_id"])
    doctors = sorted(treated, key=lambda staff: (-len(treated[staff]), staff))
    if len(doctors) < 2:
        raise SystemExit("the bundles hold no recent encounters of two practitioners: remove the cached bundles and set up again")
    doctor, head = doctors[0], next((staff for staff in doctors[1:] if len(treated[staff]) < len(clinics_of)), doctors[1])

    # The head's clinics: one of a patient treated, and those where patients go whom the head does not treat.
    own = {patient for patient in treated[head]}
    others = [patient for patient in sorted(clinics_of) if patient not in own]
    head_clinics = sorted({clinics_of[patient].most_common(1)[0][0] for patient in [*sorted(own)[:1], *others[:2]]})
    upcoming = sorted({one["clinic_id"] for one in tables["appointments"] if one["starts_at"] >= now - datetime.timedelta(days=20)})
    # Someone who has a booking with a patient and never treated that patient lately: sees what is ordinary, and no more.
    booked_only = next(
        (
            one["practitioner_id"]
            for one in tables["appointments"]
            if one["status"] == "booked" and one["starts_at"] > now and not treated.get(one["practitioner_id"])
        ),
        None,
    )
    living = [patient["patient_id"] for patient in tables["patients"] if patient["deceased_at"] is None]
    observations = Counter(row["patient_id"] for row in tables["observations"])
    patient = max(living, key=lambda one: (observations[one], one))

    # Where much is paid and much is moved, so that each role has rows to see, and rows elsewhere not to see.
    paid, moved = (Counter(row["clinic_id"] for row in tables[name]) for name in ("payments", "stock_movements"))
    desk, store = paid.most_common(1)[0][0], moved.most_common(1)[0][0]

    head_claims = {"roles": ["doctor", "head_physician"], "staff_id": head, "clinics": head_clinics}
    return [
        Person("anonymous", "public", (), with_token=False),
        Person("nikita.nobody", "public", ()),
        Person("pavel.patient", "self", ("patient",), {"roles": ["patient"], "patient_id": patient}),
        Person("dmitri.doctor", "care", ("doctor",), {"roles": ["doctor"], "staff_id": doctor}),
        Person("hanna.head", "operations", ("head_physician",), head_claims),
        Person("hanna.head", "care", ("doctor",), head_claims),
        Person("rita.receptionist", "reception", ("receptionist",), {"roles": ["receptionist"], "clinics": upcoming[:1]}),
        *([Person("doctor with a booking", "care", ("doctor",), {"roles": ["doctor"], "staff_id": booked_only})] if booked_only else []),
        *of_the_full_records(),
        Person("anna.analyst", "bi", ("analyst",), {"roles": ["analyst"]}),
        Person("karl.cashier", "billing", ("cashier",), {"roles": ["cashier"], "clinics": [desk]}),
        Person("asya.accountant", "accounting", ("accountant",), {"roles": ["accountant"]}),
        Person("stepan.storekeeper", "supply", ("storekeeper",), {"roles": ["storekeeper"], "clinics": [store]}),
        Person("sofia.scientist", "research", ("data_scientist",), {"roles": ["data_scientist"]}),
        Person("diana.dpo", "oversight", ("dpo",), {"roles": ["dpo"]}),
        Person("arkady.auditor", "oversight", ("auditor",), {"roles": ["auditor"]}),
        Person("egor.engineer", "engineering", ("data_engineer",), {"roles": ["data_engineer"]}),
        # Whom a mistake would let in: attributes that are missing, empty or of the wrong type, and words nobody declared.
        Person("doctor without staff_id", "care", ("doctor",), {"roles": ["doctor"]}),
        Person("doctor with an empty staff_id", "care", ("doctor",), {"roles": ["doctor"], "staff_id": ""}),
        Person("patient without patient_id", "self", ("patient",), {"roles": ["patient"]}),
        Person("patient whose id is SQL", "self", ("patient",), {"roles": ["patient"], "patient_id": "' OR 1=1 --"}),
        Person("head without clinics", "operations", ("head_physician",), {"roles": ["head_physician"], "staff_id": head, "clinics": []}),
        Person("receptionist with foreign clinics", "reception", ("receptionist",), {"roles": ["receptionist"], "clinics": ["nowhere"]}),
        Person("role nobody declared", "public", (), {"roles": ["superuser", "admin"]}),
        Person("cashier without clinics", "billing", ("cashier",), {"roles": ["cashier"]}),
        Person("storekeeper with foreign clinics", "supply", ("storekeeper",), {"roles": ["storekeeper"], "clinics": ["nowhere"]}),
        Person("cashier and accountant at once", "public", (), {"roles": ["cashier", "accountant"], "clinics": [desk]}),
        Person("analyst and scientist at once", "public", (), {"roles": ["analyst", "data_scientist"]}),
        Person("dpo and analyst at once", "public", (), {"roles": ["dpo", "analyst"]}),
    ]


def of_the_full_records() -> list[Person]:
    head = {"roles": ["doctor", "head_physician"], "staff_id": full.DOCTOR, "clinics": [full.CLINIC, full.OTHER_CLINIC]}
    return [
        Person("full patient", "self", ("patient",), {"roles": ["patient"], "patient_id": full.PATIENT}),
        Person(FULL_DOCTOR, "care", ("doctor",), {"roles": ["doctor"], "staff_id": full.DOCTOR}),
        Person("full head", "operations", ("head_physician",), head),
        Person("full cashier", "billing", ("cashier",), {"roles": ["cashier"], "clinics": [full.OTHER_CLINIC]}),
        Person("full receptionist", "reception", ("receptionist",), {"roles": ["receptionist"], "clinics": [full.OTHER_CLINIC]}),
    ]
