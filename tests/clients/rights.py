"""Asks the endpoint in every role, and compares every cell with what `who-sees-what.csv` allows.

The full tables come from S3 through another reader, the rules from the CSV, the people from the data; scopes, levels and
masks are computed here (`oracle.py`). Each table is asked for over HTTP and over ADBC, by everyone, also by those who must
not even learn that it exists; JDBC asks as analyst and as doctors. That the data tries each line of the CSV, `tried.py`
demands; dead letters there are by `poison.py`, which runs before.
"""

import argparse
import datetime
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

import pyarrow as pa

from . import verdict
from . import oracle
from .check import Check, absent_name
from .endpoint import Adbc, Answer, Http, Refusal, typed
from .jdbc import check_jdbc
from .lake import Lake, raw_name, read_run
from .people import FULL_DOCTOR, Person, choose
from .tokens import Mint
from .tried import Tried

JDBC_PEOPLE = ("anna.analyst", "dmitri.doctor", FULL_DOCTOR)


class Tally:
    """What was compared in each role, for the table at the end."""

    def __init__(self) -> None:
        self.cells: dict[str, Counter] = defaultdict(Counter)
        self.tables: dict[str, set[str]] = defaultdict(set)
        self.refused: dict[str, set[str]] = defaultdict(set)
        self.wrong: Counter = Counter()

    def text(self) -> str:
        head = ("role", "tables", "not there", "cells by HTTP", "cells by Flight SQL", "wrong")
        lines = [
            (role, *map(str, (len(self.tables[role]), len(self.refused[role]), self.cells[role]["HTTP"], self.cells[role]["ADBC"], self.wrong[role])))
            for role in sorted(self.wrong)
        ]
        widths = [max(len(line[column]) for line in (head, *lines)) for column in range(len(head))]
        return "\n".join("  ".join([line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]) for line in (head, *lines))


def check_visible(
    check: Check, person: Person, name: str, rows: list[dict], judge: oracle.Oracle, http: Http, adbc: Adbc, told: dict[str, dict], tally: Counter
) -> None:
    where = f"{person.name} ({person.purpose}): {name}"
    wanted, stated = judge.see(person, name, rows), judge.stated(person, name)
    columns = list(stated)
    statement = f"SELECT * FROM {name}"
    answer = adbc.sql(statement)
    if not check.that(isinstance(answer, pa.Table), f"{where}: ADBC is refused: {answer if isinstance(answer, Refusal) else ''}"):
        return
    if not check.that(set(answer.column_names) == set(columns), f"{where}: other columns than the table has"):
        return
    check.rows(f"{where} over ADBC", wanted, answer.to_pylist(), columns)
    tally["ADBC"] += len(wanted) * len(columns)
    metadata = {field.name: (field.metadata or {}).get(b"lakeward.level", b"").decode() for field in answer.schema}
    check.levels(f"{where} over ADBC", metadata, stated)
    check.that(all(field.nullable for field in answer.schema), f"{where}: a governed column is not nullable")
    over_http = http.answer(statement)
    if check.that(isinstance(over_http, Answer), f"{where}: HTTP is refused: {over_http if isinstance(over_http, Refusal) else ''}"):
        found = [{column: typed(row[column], answer.schema.field(column).type) for column in columns} for row in over_http.rows]
        check.rows(f"{where} over HTTP", wanted, found, columns)
        tally["HTTP"] += len(wanted) * len(columns)
        check.levels(f"{where} in the body over HTTP", over_http.in_body, stated)
        check.levels(f"{where} in x-lakeward-levels", over_http.in_head, stated)
    for address, shown in told.items():
        check.levels(f"{where} in {address}", shown.get(name, {}), stated)
    for column in oracle.ENGINE_COLUMNS:
        for door in (http, adbc):
            absent = absent_name(column)
            hidden, other = (door.sql(f"SELECT {one} FROM {name}") for one in (column, absent))
            check.alike(f"{where}.{column} over {type(door).__name__}", (column, hidden), (absent, other))


class Absent:
    """How one person is refused a name that does not exist, asked once for each door and schema."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], tuple[str, object]] = {}

    def of(self, door: Http | Adbc, name: str) -> tuple[str, object]:
        place = (type(door).__name__, name.split(".")[0])
        if place not in self.known:
            unknown = absent_name(name)
            self.known[place] = (unknown, door.sql(f"SELECT * FROM {unknown}"))
        return self.known[place]


def check_invisible(check: Check, person: Person, name: str, http: Http, adbc: Adbc, absent: Absent) -> None:
    """The same error as for a name that does not exist, to the letter."""
    for door in (http, adbc):
        where = f"{person.name} ({person.purpose}): {name} over {type(door).__name__}"
        hidden = door.sql(f"SELECT * FROM {name}")
        if check.alike(where, (name, hidden), absent.of(door, name)):
            check.that(hidden.status in (404, "NOT_FOUND"), f"{where}: refused as {hidden.status}")


def check_person(check: Check, person: Person, tables: dict[str, list[dict]], judge: oracle.Oracle, run: dict, token: str | None, tally: Tally) -> None:
    http, role = Http(run["http"], token, person.purpose), " ".join(person.active) or "(nobody)"
    told = {"/v1/tables": http.tables(), "/v1/access": http.access()}
    for address, shown in told.items():
        if not check.that(isinstance(shown, dict), f"{person.name}: {address} is refused: {shown if isinstance(shown, Refusal) else ''}"):
            return
    absent = Absent()
    with Adbc(run["flight"], token, person.purpose) as adbc:
        listed = adbc.tables()
        may_see = {name for name in tables if judge.visible(person, name)}
        for door, names in (*told.items(), ("ADBC's metadata", listed)):
            odd = sorted((set(names) & set(tables)) ^ may_see)
            check.that(not odd, f"{person.name} ({person.purpose}): {door} is wrong about {', '.join(odd)}")
            check.that("curated.special_encounters" not in names, f"{person.name}: {door} shows what is for the engine alone")
        for name, rows in tables.items():
            if name in may_see:
                tally.tables[role].add(name)
                check_visible(check, person, name, rows, judge, http, adbc, told, tally.cells[role])
            else:
                tally.refused[role].add(name)
                check_invisible(check, person, name, http, adbc, absent)
        check_invisible(check, person, "curated.special_encounters", http, adbc, absent)


def check_purposes(check: Check, judge: oracle.Oracle, curated: dict[str, list[dict]]) -> None:
    """The pseudonyms that were compared are of one purpose: no two purposes have one in common, and none is the id itself."""
    purposes = sorted({rule.purpose for rule in judge.rules if rule.level == "pseudonym"})
    ids = {row["patient_id"] for row in curated["patients"]}
    shown = {purpose: {judge.pseudonym("key.subject", one, purpose) for one in ids} for purpose in purposes}
    for number, purpose in enumerate(purposes):
        check.that(len(shown[purpose]) == len(ids) and not shown[purpose] & ids, f"pseudonyms of {purpose} are not one for each id")
        for other in purposes[number + 1 :]:
            check.that(not shown[purpose] & shown[other], f"{purpose} and {other} share pseudonyms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="run.json of `python -m parts config`")
    parser.add_argument("--rules", type=Path, default=Path(__file__).resolve().parents[1] / "who-sees-what.csv")
    parser.add_argument("--without-jdbc", action="store_true")
    options = parser.parse_args()
    run, now = read_run(options.run), datetime.datetime.now(datetime.UTC)
    lake, mint = Lake(run), Mint(run)
    curated = {name: lake.rows(f"curated.{name}") for name in oracle.TAGS}
    raw = {name: lake.rows(name) for topic in run["parts"]["kafka"]["topics"] for name in (raw_name(topic), f"{raw_name(topic)}__dead_letter")}
    empty = [name for name, rows in (curated | raw).items() if not rows]
    if empty:
        sys.exit(f"nothing to compare: {', '.join(empty)} hold no rows")
    secret = Path(run["pseudonym_secret_file"]).read_text().strip().encode()
    judge = oracle.Oracle(curated, oracle.read_rules(options.rules), secret, now)
    tables = {f"curated.{name}": rows for name, rows in judge.tables.items()} | raw

    check, tried, tally, people, began = Check(), Tried(judge, tables), Tally(), choose(curated, now), time.monotonic()
    for person in people:
        tried.add(person)
        token, before = mint.token(person.name, **person.claims) if person.with_token else None, len(check.differences)
        check_person(check, person, tables, judge, run, token, tally)
        tally.wrong[" ".join(person.active) or "(nobody)"] += len(check.differences) - before
        if person.name in JDBC_PEOPLE and not options.without_jdbc:
            check_jdbc(check, person, tables, judge, run, token)
    tried.report(check)
    check_purposes(check, judge, curated)

    print(tally.text())
    print(f"{len(people)} people, {len(tables)} tables, {dict(check.compared)}; {len(check.differences)} differences, {time.monotonic() - began:.0f} s")
    verdict.give(check.differences)


if __name__ == "__main__":
    main()
