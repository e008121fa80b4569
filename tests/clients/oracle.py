"""Who sees which cell, by `who-sees-what.csv` and DOMAIN alone: scopes, levels and masks in plain Python.

The tags of the columns stand here by hand, as DOMAIN has them. The masks follow DOMAIN ("Masks"); the bytes under the HMAC
follow the documentation of `PseudonymKeys` and of the pseudonym mask.
"""

import base64
import calendar
import csv
import datetime
import hmac
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from .people import Person, Tables

LEVELS = ("hidden", "pseudonym", "generalised", "clear")
Row = dict[str, object]

_KEYS = {"patient_id": "key.subject", "encounter_id": "key.event", "practitioner_id": "key.staff", "clinic_id": "key.place"}


def _tags(keys: str, **groups: str) -> dict[str, tuple[str, ...]]:
    """Tags by column; `text_free="a b"` means that a and b are `text.free`."""
    tags: dict[str, tuple[str, ...]] = {key: (_KEYS[key],) for key in keys.split()}
    for group, columns in groups.items():
        for column in columns.split():
            tags[column] = (*tags.get(column, ()), group.replace("__", "_").replace("_", ".", 1) if "_" in group else group)
    return tags


TAGS: dict[str, dict[str, tuple[str, ...]]] = {
    "patients": _tags(
        "patient_id", name="family_name given_names", contact_phone="phone", contact_email="email",
        identifier_direct="insurance_number address_line",
        identifier_quasi="birth_date gender city region postal_code deceased_at",
    ) | {"national_id": ("national_id",)},
    "practitioners": _tags(
        "practitioner_id", public="family_name given_names specialty", specialty="specialty", identifier_direct="license_number"
    ),
    "clinics": _tags("clinic_id", public="name city address_line phone time_zone"),
    "appointments": _tags(
        "practitioner_id clinic_id patient_id", key_event="appointment_id", time="starts_at ends_at", operational="status",
        text_free="reason", sensitivity="sensitivity",
    ),
    "encounters": _tags(
        "encounter_id patient_id practitioner_id clinic_id", time="started_at ended_at", operational="class status",
        clinical="type_code type_text reason_code", text_free="reason_text", sensitivity="sensitivity",
    ),
    "conditions": _tags(
        "patient_id encounter_id practitioner_id", key_event="condition_id",
        clinical="code code_system code_text clinical_status verification_status", time="onset_at", text_free="note",
        sensitivity="sensitivity",
    ),
    "observations": _tags(
        "patient_id encounter_id practitioner_id", key_event="observation_id",
        clinical="component status category code code_system code_text value value_comparator unit value_code reference_low"
        " reference_high interpretation", time="effective_at", text_free="value_text note", sensitivity="sensitivity",
    ),
    "medication_requests": _tags(
        "patient_id encounter_id practitioner_id", key_event="medication_request_id", clinical="status code code_text",
        text_free="dosage_text", time="authored_at", sensitivity="sensitivity",
    ),
    "consents": _tags("patient_id", operational="purpose granted", time="expires_at recorded_at"),
    "documents": _tags(
        "patient_id encounter_id practitioner_id clinic_id", key_event="document_id", clinical="type_code", text_free="title",
        operational="content_type size_bytes sha256", time="created_at", document="content content_url",
        sensitivity="sensitivity",
    ),
    "payments": _tags(
        "patient_id encounter_id clinic_id", key_event="payment_id", finance="amount currency method", time="paid_at",
        billing="services", sensitivity="sensitivity",
    ),
    "stock_movements": _tags(
        "clinic_id", key_event="movement_id", operational="item_code item_name batch quantity movement_reason moved_at"
    ),
}  # fmt: skip
# Columns of the stored tables that are the engine's own and nobody's to ask for.
ENGINE_COLUMNS = ("_lw_version", "_lw_deleted")
RAW_TAGS = {
    **{column: ("transport",) for column in ("source", "topic", "partition", "offset", "timestamp", "ingested_at")},
    "key": ("key.subject",),
    "headers": ("payload.raw",),
    "payload": ("payload.raw",),
}
DEAD_LETTER_TAGS = {**RAW_TAGS, "reason": ("reason",)}


@dataclass(frozen=True)
class Rule:
    """One line of who-sees-what.csv."""

    role: str
    purpose: str
    table: str
    scope: str
    tags: frozenset[str]
    level: str


@dataclass(frozen=True)
class Scope:
    """All lines of one role, table and scope: which rows, and the level of each column with the tag that gives it."""

    role: str
    name: str
    holds: Callable[[Row], bool]
    levels: dict[str, tuple[str, str]]


def highest(levels: Iterable[tuple[str, str]]) -> tuple[str, str]:
    return max(levels, key=lambda found: LEVELS.index(found[0]), default=("hidden", ""))


def read_rules(path: Path) -> list[Rule]:
    with path.open(newline="") as file:
        lines = [line for line in file if not line.startswith("#")]
    return [
        Rule(row["role"].strip("()"), row["purpose"], row["table"], row["scope"], frozenset(row["tags"].split()), row["level"])
        for row in csv.DictReader(lines)
    ]


def months_before(moment: datetime.datetime, months: int) -> datetime.datetime:
    year, month = divmod(moment.year * 12 + moment.month - 1 - months, 12)
    return moment.replace(year=year, month=month + 1, day=min(moment.day, calendar.monthrange(year, month + 1)[1]))


class Oracle:
    """The cells that each person may see of full tables at one moment."""

    def __init__(self, tables: Tables, rules: list[Rule], secret: bytes, now: datetime.datetime):
        self.rules, self.secret, self.now = rules, secret, now
        self.special_encounters = {
            row["encounter_id"] for rows in tables.values() for row in rows if row.get("sensitivity") == "special" and row.get("encounter_id")
        }
        # All rows of an encounter take the highest sensitivity of that encounter.
        self.tables = {
            name: [{**row, "sensitivity": "special"} if row.get("encounter_id") in self.special_encounters and "sensitivity" in row else row for row in rows]
            for name, rows in tables.items()
        }
        self.clinic_of_encounter = {row["encounter_id"]: row["clinic_id"] for row in tables["encounters"]}
        self._keys: dict[str, bytes] = {}

    # ---- Scopes ----------------------------------------------------------------------------------------------------

    def scope(self, name: str, table: str, person: Person) -> Callable[[Row], bool] | None:
        """Whether a row is in the scope; None where the scope is not available to the person."""
        if name.endswith("_ordinary"):
            inner = self.scope(name.removesuffix("_ordinary"), table, person)
            return inner and (lambda row: inner(row) and row["sensitivity"] == "ordinary")
        text = lambda attribute: person.attributes.get(attribute) if isinstance(person.attributes.get(attribute), str) else None  # noqa: E731
        clinics = person.attributes.get("clinics")
        match name:
            case "all":
                return lambda row: True
            case "ordinary":
                return lambda row: row["sensitivity"] == "ordinary"
            case "own_records":
                patient = text("patient_id")
                return patient and (lambda row: row["patient_id"] == patient)
            case "own_schedule":
                staff = text("staff_id")
                return staff and (lambda row: row["practitioner_id"] == staff)
            case "my_patients":
                staff = text("staff_id")
                if not staff:
                    return None
                patients = self.booked_with(staff) | self.treated_by(staff)
                return lambda row: row["patient_id"] in patients
            case "treated_by_me":
                staff = text("staff_id")
                if not staff:
                    return None
                patients = self.treated_by(staff)
                return lambda row: row["patient_id"] in patients
            case "my_clinics":
                if not clinics:
                    return None
                if table == "patients":
                    rows = self.tables["appointments"] + self.tables["encounters"]
                    patients = {row["patient_id"] for row in rows if row["clinic_id"] in clinics}
                    return lambda row: row["patient_id"] in patients
                if "clinic_id" in TAGS[table]:
                    return lambda row: row["clinic_id"] in clinics
                return lambda row: self.clinic_of_encounter.get(row["encounter_id"]) in clinics
            case "booked_at_my_clinics":
                if not clinics:
                    return None
                since = self.now - datetime.timedelta(days=30)
                booked = {
                    row["patient_id"]
                    for row in self.tables["appointments"]
                    if row["clinic_id"] in clinics and row["starts_at"] >= since and row["status"] != "entered-in-error"
                }
                return lambda row: row["patient_id"] in booked
            case "paying_at_my_clinics":
                if not clinics:
                    return None
                paying = {row["patient_id"] for row in self.tables["payments"] if row["clinic_id"] in clinics}
                return lambda row: row["patient_id"] in paying
            case "consented_research":
                agreed = {
                    row["patient_id"]
                    for row in self.tables["consents"]
                    if row["purpose"] == "research" and row["granted"] and (row["expires_at"] is None or row["expires_at"] > self.now)
                }
                return lambda row: row["patient_id"] in agreed
        raise SystemExit(f"who-sees-what.csv names a scope that the oracle does not know: {name}")

    def booked_with(self, staff: str) -> set[str]:
        begin, end = self.now - datetime.timedelta(days=90), self.now + datetime.timedelta(days=30)
        return {
            row["patient_id"]
            for row in self.tables["appointments"]
            if row["practitioner_id"] == staff and row["status"] in ("booked", "arrived", "fulfilled") and begin <= row["starts_at"] <= end
        }

    def treated_by(self, staff: str) -> set[str]:
        begin = months_before(self.now, 24)
        took_place = ("arrived", "triaged", "in-progress", "onleave", "finished")
        return {
            row["patient_id"]
            for row in self.tables["encounters"]
            if row["practitioner_id"] == staff and row["status"] in took_place and begin <= row["started_at"] <= self.now
        }

    # ---- Levels ----------------------------------------------------------------------------------------------------

    def rules_of(self, person: Person, name: str) -> list[tuple[Rule, Callable[[Row], bool]]]:
        """The rules of a table under which the person sees something, with their scopes."""
        schema, table = name.split(".")
        patterns = {f"raw.*{'__dead_letter' if table.endswith('__dead_letter') else ''}"} if schema == "raw" else {table}
        found = []
        for rule in self.rules:
            if rule.table in patterns and rule.purpose == person.purpose and (rule.role == "nobody" or rule.role in person.active):
                holds = self.scope(rule.scope, table, person)
                if holds:
                    found.append((rule, holds))
        return found

    def visible(self, person: Person, name: str) -> bool:
        return bool(self.rules_of(person, name))

    def scopes_of(self, person: Person, name: str) -> list[Scope]:
        """The scopes under which the person sees something of a table, with the level of each column there."""
        schema, table = name.split(".")
        tags = TAGS[table] if schema == "curated" else DEAD_LETTER_TAGS if table.endswith("__dead_letter") else RAW_TAGS
        by_scope: dict[tuple[str, str], tuple[Callable[[Row], bool], list[Rule]]] = {}
        for rule, holds in self.rules_of(person, name):
            by_scope.setdefault((rule.role, rule.scope), (holds, []))[1].append(rule)
        return [
            Scope(role, scope, holds, {column: highest((rule.level, tag) for rule in rules for tag in own if tag in rule.tags or "*" in rule.tags) for column, own in tags.items()})
            for (role, scope), (holds, rules) in by_scope.items()
        ]  # fmt: skip

    def see(self, person: Person, name: str, rows: list[Row]) -> list[Row]:
        """The rows as the person sees them."""
        scopes = self.scopes_of(person, name)
        levels: dict[tuple[bool, ...], dict[str, tuple[str, str]]] = {}
        seen = []
        for row in rows:
            held = tuple(bool(scope.holds(row)) for scope in scopes)
            if not any(held):
                continue
            if held not in levels:
                levels[held] = {column: highest(scope.levels[column] for scope, holds in zip(scopes, held, strict=True) if holds) for column in row}
            subject = row.get("patient_id")
            seen.append({column: self.mask(*levels[held][column], column, value, person.purpose, subject) for column, value in row.items()})
        return seen

    def stated(self, person: Person, name: str) -> dict[str, str]:
        """What a client is to be told of each column: its level in every scope the person has, or that it varies."""
        scopes = self.scopes_of(person, name)
        found = {column: {scope.levels[column][0] for scope in scopes} for column in scopes[0].levels}
        return {column: next(iter(levels)) if len(levels) == 1 else "varies" for column, levels in found.items()}

    # ---- Masks -----------------------------------------------------------------------------------------------------

    def mask(self, level: str, tag: str, column: str, value: object, purpose: str, subject: str | None) -> object:
        """What is shown of a value; `subject` is whose row it is."""
        if level == "hidden" or value is None:
            return None
        if level == "clear":
            return value
        if level == "pseudonym" and tag == "time":
            return value + datetime.timedelta(days=self.days_of(subject, purpose)) if subject else None
        if level == "pseudonym":
            return self.pseudonym(tag, value, purpose) if isinstance(value, str) else None
        if tag == "time":
            day = value.astimezone(datetime.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
            return day - datetime.timedelta(days=day.weekday())
        match column:
            case "birth_date":
                today = self.now.date()
                oldest = datetime.date(today.year - 90, today.month, 28 if (today.month, today.day) == (2, 29) else today.day)
                year = max(value, oldest).year
                return datetime.date(year - year % 5, 1, 1)
            case "deceased_at":
                return datetime.datetime(value.astimezone(datetime.UTC).year, 1, 1, tzinfo=datetime.UTC)
            case "gender" | "region":
                return value
            case "postal_code":
                return value[:3]
        return None

    def key(self, purpose: str) -> bytes:
        return self._keys.setdefault(purpose, hmac.digest(self.secret, b"lakeward/pseudonym/v1\0" + purpose.encode(), "sha256"))

    def pseudonym(self, tag: str, value: str, purpose: str) -> str:
        digest = hmac.digest(self.key(purpose), b"hmac\0" + tag.encode() + b"\0" + value.encode(), "sha256")
        return base64.b32encode(digest[:20]).decode()

    def days_of(self, subject: str, purpose: str) -> int:
        """1 to 365 days back or forth, fixed for a subject and purpose."""
        digest = hmac.digest(self.key(purpose), b"shift_days\0\0" + subject.encode(), "sha256")
        days = int.from_bytes(digest[:8], "big") % 730 - 365
        return days + 1 if days >= 0 else days
