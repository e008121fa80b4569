"""The JDBC driver's own reading, by `Jdbc.java`: metadata, statements, prepared statements, and what is refused."""

import datetime
import json
import os
import subprocess
import tempfile
from pathlib import Path

from . import expected, oracle
from .check import Check, absent_name
from .endpoint import Refusal
from .people import Person

HERE = Path(__file__).resolve().parent


def check_jdbc(check: Check, person: Person, tables: dict[str, list[dict]], judge: oracle.Oracle, run: dict, token: str) -> None:
    """All that the person may see, and all that the person may not."""
    may_see = [name for name in tables if judge.visible(person, name)]
    pairs = {f"SELECT * FROM {name}": (name, f"SELECT * FROM {absent_name(name)}") for name in tables if name not in may_see}
    for name in may_see:
        for column in oracle.ENGINE_COLUMNS:
            pairs[f"SELECT {column} FROM {name}"] = (column, f"SELECT {absent_name(column)} FROM {name}")
    asked = {
        "tables": {name: expected.KEYS[name.removeprefix("curated.")][0] for name in may_see},
        "refused": [*pairs, *(absent for _, absent in pairs.values())],
    }
    answer = read(check, person, asked, run, token)
    if answer is None:
        return
    where = f"{person.name} over JDBC"
    check.that(answer["catalogs"] == ["lakeward"], f"{where}: catalogs {answer['catalogs']}")
    check.that("curated" in answer["schemas"], f"{where}: schemas {answer['schemas']}")
    odd = sorted((set(answer["tables"]) & set(tables)) ^ set(may_see))
    check.that(not odd, f"{where}: the driver's getTables is wrong about {', '.join(odd)}")
    for name, key in asked["tables"].items():
        check_table(check, f"{where}: {name}", key, tables[name], judge.see(person, name, tables[name]), {of: answer[of][name] for of in ("columns", "rows", "prepared")})
    refusals = {statement: said and Refusal(said["state"], "", None, said["message"]) for statement, said in answer["refused"].items()}
    for statement, (name, absent) in pairs.items():
        check.alike(f"{where}: {statement}", (name, refusals[statement]), (absent_name(name), refusals[absent]))
    check.compared["JDBC refusals"] += len(refusals)


def read(check: Check, person: Person, asked: dict, run: dict, token: str) -> dict | None:
    host = run["flight"].removeprefix("grpc://")
    lines = [f"table {name} {key}" for name, key in asked["tables"].items()] + [f"refused {statement}" for statement in asked["refused"]]
    with tempfile.NamedTemporaryFile("w+", suffix=".json") as output:
        done = subprocess.run(
            ["java", "--add-opens=java.base/java.nio=ALL-UNNAMED", "-XX:TieredStopAtLevel=1", "-cp", run["parts"]["jdbc_jar"],
             str(HERE / "Jdbc.java"), host, person.purpose, output.name],
            env={**os.environ, "LAKEWARD_TOKEN": token}, input="\n".join(lines), capture_output=True, text=True, check=False,
        )  # fmt: skip
        if not check.that(done.returncode == 0, f"{person.name}: the JDBC client ended with {done.returncode}: {done.stderr[-1500:]}"):
            return None
        return json.loads(Path(output.name).read_text())


def check_table(check: Check, where: str, key: str, rows: list[dict], wanted: list[dict], answer: dict) -> None:
    columns = list(rows[0])
    check.that(set(answer["columns"]) == set(columns), f"{where}: the driver's getColumns is wrong")
    kinds = {column: next((type(row[column]) for row in rows if row[column] is not None), str) for column in columns}
    found = [{column: from_text(row[column], kinds[column]) for column in columns} for row in answer["rows"]]
    check.rows(where, wanted, found, columns)
    chosen, count = answer["prepared"]["value"], answer["prepared"]["rows"]
    same = sum(row[key] == chosen for row in found) if chosen is not None else 0
    shown = any(row[key] is not None for row in wanted)
    check.that(count == same and (same > 0) == shown, f"{where}: a parameter found {count} rows, {same} expected")


def from_text(text: str | None, kind: type) -> object:
    """JDBC's values are printed as text: instants as ISO 8601, bytes in hex, all else by `toString`."""
    if text is None or kind is str:
        return text
    if kind is datetime.datetime:
        return datetime.datetime.fromisoformat(text)
    if kind is datetime.date:
        return datetime.date.fromisoformat(text)
    if kind is bytes:
        return bytes.fromhex(text)
    if kind is bool:
        return text == "true"
    return kind(text)
