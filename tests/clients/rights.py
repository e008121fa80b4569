"""Asks the endpoint as every person whose role is built, and compares every cell with what `who-sees-what.csv` allows.

The full tables come from S3 through another reader, the rules from the CSV, the people from the data; scopes, levels and
masks are computed here (`oracle.py`). Each table is asked for over HTTP and over ADBC, by everyone, also by those who must
not even learn that it exists; JDBC asks as analyst and as doctor.
"""

import datetime
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pyarrow as pa

from . import oracle
from .endpoint import Adbc, Http, Refusal, typed
from .lake import Lake, read_run
from .people import Person, choose
from .tokens import Mint
from .values import canonical

HERE = Path(__file__).resolve().parent
RAW_TOPICS = ("clinic_patient", "clinic_observation", "erp_payment")
JDBC_TABLES = ("patients", "appointments", "encounters", "medication_requests")
JDBC_PEOPLE = ("anna.analyst", "dmitri.doctor")


class Check:
    """Counts what was compared, and keeps what differed."""

    def __init__(self) -> None:
        self.compared = Counter()
        self.differences: list[str] = []

    def that(self, holds: bool, sentence: str) -> bool:
        self.compared["statements"] += 1
        if not holds:
            self.differences.append(sentence)
        return holds


def compare_rows(check: Check, where: str, wanted: list[dict], found: list[dict], columns: list[str]) -> None:
    """As multisets: no order is promised. The message names columns, never values."""
    check.compared["cells"] += len(wanted) * len(columns)
    if not check.that(len(found) == len(wanted), f"{where}: {len(found)} rows, {len(wanted)} expected"):
        return
    as_wanted, as_found = (Counter(tuple(canonical(row[column]) for column in columns) for row in rows) for rows in (wanted, found))
    if as_wanted == as_found:
        return
    guilty = [
        column
        for column in columns
        if Counter(canonical(row[column]) for row in wanted) != Counter(canonical(row[column]) for row in found)
    ]
    check.that(False, f"{where}: {sum((as_wanted - as_found).values())} rows differ, in {', '.join(guilty) or 'how cells stand together'}")


def check_levels(check: Check, where: str, shown: dict[str, str], levels: dict[str, set[str]]) -> None:
    """A column's stated level is that of all of its cells, or `varies`."""
    for column, given in levels.items():
        if given:
            stated = shown.get(column)
            fits = stated == "varies" or given == {stated}
            check.that(fits, f"{where}.{column}: stated as {stated}, its cells are {', '.join(sorted(given))}")


def check_visible(check: Check, person: Person, name: str, rows: list[dict], judge: oracle.Oracle, http: Http, adbc: Adbc, shown: dict) -> None:
    where = f"{person.name} ({person.purpose}): {name}"
    wanted, levels = judge.see(person, name, rows)
    columns = list(rows[0]) if rows else []
    statement = f"SELECT * FROM {name}"
    answer = adbc.sql(statement)
    if not check.that(isinstance(answer, pa.Table), f"{where}: ADBC is refused: {answer if isinstance(answer, Refusal) else ''}"):
        return
    if not rows:
        check.that(answer.num_rows == 0, f"{where}: rows out of an empty table")
        return
    if not check.that(set(answer.column_names) == set(columns), f"{where}: other columns than the table has"):
        return
    compare_rows(check, f"{where} over ADBC", wanted, answer.to_pylist(), columns)
    metadata = {field.name: (field.metadata or {}).get(b"lakeward.level", b"").decode() for field in answer.schema}
    check_levels(check, f"{where} over ADBC", metadata, levels)
    check.that(all(field.nullable for field in answer.schema), f"{where}: a governed column is not nullable")
    over_http = http.sql(statement)
    if check.that(isinstance(over_http, list), f"{where}: HTTP is refused: {over_http if isinstance(over_http, Refusal) else ''}"):
        found = [{column: typed(row[column], answer.schema.field(column).type) for column in columns} for row in over_http]
        compare_rows(check, f"{where} over HTTP", wanted, found, columns)
    check_levels(check, f"{where} in /v1/tables", shown.get(name, {}), levels)


def check_invisible(check: Check, person: Person, name: str, http: Http, adbc: Adbc) -> None:
    """The same error as for a name that does not exist, to the letter."""
    where = f"{person.name} ({person.purpose}): {name}"
    unknown = f"{name[:-1]}{'x' if name[-1] != 'x' else 'y'}"
    for door in (http, adbc):
        hidden, absent = door.sql(f"SELECT * FROM {name}"), door.sql(f"SELECT * FROM {unknown}")
        if check.that(isinstance(hidden, Refusal), f"{where}: answered over {type(door).__name__}"):
            alike = (hidden.status, hidden.code, hidden.detail.replace(name, "?")) == (absent.status, absent.code, absent.detail.replace(unknown, "?"))
            check.that(alike, f"{where}: over {type(door).__name__} a hidden table is told from an absent one")
            check.that(hidden.status in (404, "NOT_FOUND"), f"{where}: over {type(door).__name__} refused as {hidden.status}")


def check_person(check: Check, person: Person, tables: dict[str, list[dict]], judge: oracle.Oracle, run: dict, token: str | None) -> None:
    http = Http(run["http"], token, person.purpose)
    shown = http.tables()
    if not check.that(isinstance(shown, dict), f"{person.name}: /v1/tables is refused: {shown if isinstance(shown, Refusal) else ''}"):
        return
    with Adbc(run["flight"], token, person.purpose) as adbc:
        listed = adbc.tables()
        may_see = {name for name in tables if judge.visible(person, name)}
        for door, names in (("/v1/tables", shown), ("ADBC's metadata", listed)):
            odd = sorted((set(names) & set(tables)) ^ may_see)
            check.that(not odd, f"{person.name} ({person.purpose}): {door} is wrong about {', '.join(odd)}")
            check.that("curated.special_encounters" not in names, f"{person.name}: {door} shows what is for the engine alone")
        for name, rows in tables.items():
            if name in may_see:
                check_visible(check, person, name, rows, judge, http, adbc, shown)
            else:
                check_invisible(check, person, name, http, adbc)
        check_invisible(check, person, "curated.special_encounters", http, adbc)


def check_jdbc(check: Check, person: Person, tables: dict[str, list[dict]], judge: oracle.Oracle, run: dict, token: str) -> None:
    """The driver's own reading, by `Jdbc.java`: metadata, a statement, a prepared statement with a parameter."""
    names = [table for table in JDBC_TABLES if judge.visible(person, f"curated.{table}")]
    host = run["flight"].removeprefix("grpc://")
    with tempfile.NamedTemporaryFile("w+", suffix=".json") as output:
        done = subprocess.run(
            ["java", "--add-opens=java.base/java.nio=ALL-UNNAMED", "-XX:TieredStopAtLevel=1", "-cp", run["parts"]["jdbc_jar"],
             str(HERE / "Jdbc.java"), host, person.purpose, output.name, *names],
            env={**os.environ, "LAKEWARD_TOKEN": token}, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if not check.that(done.returncode == 0, f"{person.name}: the JDBC client ended with {done.returncode}: {done.stderr[-1500:]}"):
            return
        answer = json.loads(Path(output.name).read_text())
    where = f"{person.name} over JDBC"
    check.that(answer["catalogs"] == ["lakeward"], f"{where}: catalogs {answer['catalogs']}")
    check.that("curated" in answer["schemas"], f"{where}: schemas {answer['schemas']}")
    may_see = {name for name in tables if judge.visible(person, name)}
    odd = sorted((set(answer["tables"]) & set(tables)) ^ may_see)
    check.that(not odd, f"{where}: the driver's getTables is wrong about {', '.join(odd)}")
    for table in names:
        name = f"curated.{table}"
        wanted, _ = judge.see(person, name, tables[name])
        columns = list(tables[name][0])
        check.that(set(answer["columns"][table]) == set(columns), f"{where}: the driver's getColumns is wrong about {table}")
        kinds = {column: next((type(row[column]) for row in tables[name] if row[column] is not None), str) for column in columns}
        found = [{column: from_text(row[column], kinds[column]) for column in columns} for row in answer["rows"][table]]
        compare_rows(check, f"{where}: {table}", wanted, found, columns)
        key, prepared = f"{table[:-1]}_id", answer["prepared"][table]
        same = sum(row[key] == prepared["value"] for row in found)
        if found:
            check.that(prepared["rows"] == same > 0, f"{where}: a parameter found {prepared['rows']} rows of {table}, {same} expected")


def from_text(text: str | None, kind: type) -> object:
    """JDBC's values are printed as text: instants as ISO 8601, all else by `toString`."""
    if text is None or kind is str:
        return text
    if kind is datetime.datetime:
        return datetime.datetime.fromisoformat(text)
    if kind is datetime.date:
        return datetime.date.fromisoformat(text)
    if kind is bool:
        return text == "true"
    return kind(text)


def check_that_it_bites(check: Check, people: list[Person], tables: dict[str, list[dict]], judge: oracle.Oracle) -> None:
    """The data must hold what the rules tell apart, or the comparison would be true of nothing."""
    wanted = [
        ("pavel.patient", "self", "curated.observations", {"clear"}),
        ("dmitri.doctor", "care", "curated.patients", {"clear", "hidden"}),
        ("hanna.head", "operations", "curated.patients", {"clear", "pseudonym", "generalised", "hidden"}),
        ("hanna.head", "operations", "curated.encounters", {"clear", "pseudonym", "generalised", "hidden"}),
        ("rita.receptionist", "reception", "curated.patients", {"clear", "generalised", "hidden"}),
        ("anna.analyst", "bi", "curated.observations", {"clear", "pseudonym", "generalised", "hidden"}),
    ]
    by_name = {(person.name, person.purpose): person for person in people}
    for name, purpose, table, levels in wanted:
        seen, found = judge.see(by_name[name, purpose], table, tables[table])
        every = set().union(*found.values())
        check.that(levels <= every, f"the data does not try {name} on {table}: only {', '.join(sorted(every))}")
        check.that(0 < len(seen) <= len(tables[table]), f"the data does not try {name} on {table}: {len(seen)} rows")
    mixed = judge.see(by_name["hanna.head", "operations"], "curated.patients", tables["curated.patients"])[1]["patient_id"]
    check.that(mixed == {"clear", "pseudonym"}, f"the data does not show the head two levels in one column: {mixed}")
    analyst = judge.see(by_name["anna.analyst", "bi"], "curated.observations", tables["curated.observations"])[0]
    check.that(len(analyst) < len(tables["curated.observations"]), "the data has no special observation")


def main() -> None:
    import argparse

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="run.json of `python -m parts config`")
    parser.add_argument("--rules", type=Path, default=HERE.parent / "who-sees-what.csv")
    parser.add_argument("--without-jdbc", action="store_true")
    options = parser.parse_args()
    run, now = read_run(options.run), datetime.datetime.now(datetime.UTC)
    lake, mint = Lake(run), Mint(run)
    curated = {name: lake.rows(f"curated.{name}") for name in oracle.TAGS}
    raw = {f"raw.{topic}{kind}": lake.rows(f"raw.{topic}{kind}") for topic in RAW_TOPICS for kind in ("", "__dead_letter")}
    empty = [name for name, rows in curated.items() if not rows]
    if empty:
        sys.exit(f"nothing to compare: {', '.join(empty)} hold no rows")
    secret = Path(run["pseudonym_secret_file"]).read_text().strip().encode()
    judge = oracle.Oracle(curated, oracle.read_rules(options.rules), secret, now)
    tables = {f"curated.{name}": rows for name, rows in judge.tables.items()} | raw

    check, people = Check(), choose(curated, now)
    check_that_it_bites(check, people, tables, judge)
    for person in people:
        token = mint.token(person.name, **person.claims) if person.with_token else None
        check_person(check, person, tables, judge, run, token)
        if person.name in JDBC_PEOPLE and not options.without_jdbc:
            check_jdbc(check, person, tables, judge, run, token)

    print(f"{len(people)} people, {len(tables)} tables, {dict(check.compared)}; {len(check.differences)} differences")
    for difference in check.differences:
        print(difference, file=sys.stderr)
    sys.exit(1 if check.differences else 0)


if __name__ == "__main__":
    main()
