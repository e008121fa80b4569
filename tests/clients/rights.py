"""Asks the endpoint as every person whose role is built, and compares every cell with what `who-sees-what.csv` allows.

The full tables come from S3 through another reader, the rules from the CSV, the people from the data; scopes, levels and
masks are computed here (`oracle.py`). Each table is asked for over HTTP and over ADBC, by everyone, also by those who must
not even learn that it exists; JDBC asks as analyst and as doctors. That the data tries each line of the CSV, `tried.py`
demands; dead letters there are by `poison.py`, which runs before.
"""

import argparse
import datetime
import sys
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


def check_visible(check: Check, person: Person, name: str, rows: list[dict], judge: oracle.Oracle, http: Http, adbc: Adbc, shown: dict) -> None:
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
    metadata = {field.name: (field.metadata or {}).get(b"lakeward.level", b"").decode() for field in answer.schema}
    check.levels(f"{where} over ADBC", metadata, stated)
    check.that(all(field.nullable for field in answer.schema), f"{where}: a governed column is not nullable")
    over_http = http.answer(statement)
    if check.that(isinstance(over_http, Answer), f"{where}: HTTP is refused: {over_http if isinstance(over_http, Refusal) else ''}"):
        found = [{column: typed(row[column], answer.schema.field(column).type) for column in columns} for row in over_http.rows]
        check.rows(f"{where} over HTTP", wanted, found, columns)
        check.levels(f"{where} in the body over HTTP", over_http.in_body, stated)
        check.levels(f"{where} in x-lakeward-levels", over_http.in_head, stated)
    check.levels(f"{where} in /v1/tables", shown.get(name, {}), stated)
    for column in oracle.ENGINE_COLUMNS:
        for door in (http, adbc):
            absent = absent_name(column)
            hidden, other = (door.sql(f"SELECT {one} FROM {name}") for one in (column, absent))
            check.alike(f"{where}.{column} over {type(door).__name__}", (column, hidden), (absent, other))


def check_invisible(check: Check, person: Person, name: str, http: Http, adbc: Adbc) -> None:
    """The same error as for a name that does not exist, to the letter."""
    unknown = absent_name(name)
    for door in (http, adbc):
        where = f"{person.name} ({person.purpose}): {name} over {type(door).__name__}"
        hidden, absent = door.sql(f"SELECT * FROM {name}"), door.sql(f"SELECT * FROM {unknown}")
        if check.alike(where, (name, hidden), (unknown, absent)):
            check.that(hidden.status in (404, "NOT_FOUND"), f"{where}: refused as {hidden.status}")


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

    check, tried, people = Check(), Tried(judge, tables), choose(curated, now)
    for person in people:
        tried.add(person)
        token = mint.token(person.name, **person.claims) if person.with_token else None
        check_person(check, person, tables, judge, run, token)
        if person.name in JDBC_PEOPLE and not options.without_jdbc:
            check_jdbc(check, person, tables, judge, run, token)
    tried.report(check)

    print(f"{len(people)} people, {len(tables)} tables, {dict(check.compared)}; {len(check.differences)} differences")
    verdict.give(check.differences)


if __name__ == "__main__":
    main()
