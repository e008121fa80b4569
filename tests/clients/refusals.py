"""Bad credentials, statements of a kind that is refused, and claims that open nothing: all asked from outside."""

import argparse
from pathlib import Path

import pyarrow as pa

from . import verdict
from .endpoint import Adbc, Http, Refusal
from .lake import read_run
from .tokens import Mint

# By kind: what stands in `refused` of the answer.
REFUSED = {
    "ddl": [
        "CREATE TABLE t (a INT)", "DROP TABLE curated.patients", "CREATE VIEW v AS SELECT 1", "ALTER TABLE curated.patients ADD COLUMN x INT",
        "CREATE SCHEMA s", "TRUNCATE TABLE curated.patients", "CREATE TABLE t AS SELECT * FROM curated.clinics",
        "CREATE FUNCTION f() RETURNS INT RETURN 1",
    ],
    "dml": [
        "INSERT INTO curated.clinics SELECT * FROM curated.clinics", "DELETE FROM curated.clinics", "UPDATE curated.clinics SET name = 'x'",
        "MERGE INTO curated.clinics USING curated.clinics AS s ON FALSE WHEN MATCHED THEN DELETE",
    ],
    "copy": ["COPY curated.clinics TO '/tmp/x.csv'", "COPY (SELECT 1) TO '/tmp/x.parquet' STORED AS PARQUET"],
    "set": ["SET datafusion.execution.batch_size = 1", "RESET datafusion.execution.batch_size", "SET TIME ZONE 'UTC'"],
    "external_table": ["CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'"],
    "multiple_statements": ["SELECT 1; SELECT 2", "SELECT 1; DROP TABLE curated.clinics"],
    "transaction": ["BEGIN", "COMMIT", "ROLLBACK"],
    "explain": ["EXPLAIN ANALYZE SELECT * FROM curated.clinics", "EXPLAIN VERBOSE SELECT * FROM curated.clinics"],
    "prepare": ["PREPARE p AS SELECT 1", "EXECUTE p", "DEALLOCATE p"],
}  # fmt: skip
# Refused in whatever words, or as a name that does not exist.
ANYHOW = [
    "SELECT * FROM read_csv('/etc/passwd')", "SELECT * FROM read_parquet('/etc/passwd')", "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM information_schema.df_settings", "SHOW ALL", "SELECT * FROM lakeward.information_schema.df_settings",
    "SELECT * FROM curated.special_encounters", "SELECT _lw_version FROM curated.clinics", "SELECT * FROM parquet_metadata('x')",
    "EXPLAIN SELECT * FROM curated.special_encounters", "DESCRIBE curated.special_encounters",
]  # fmt: skip
GOOD = "SELECT count(*) AS n FROM curated.clinics"


class Check:
    def __init__(self) -> None:
        self.count = 0
        self.differences: list[str] = []

    def that(self, holds: bool, sentence: str) -> None:
        self.count += 1
        if not holds:
            self.differences.append(sentence)


def bad_tokens(check: Check, run: dict, mint: Mint) -> None:
    """401, a body that says nothing of why, and the same over Flight SQL."""
    good = mint.token("anna.analyst", roles=["analyst"])
    check.that(isinstance(Http(run["http"], good).sql(GOOD), list), "the good token is refused over HTTP: what follows proves nothing")
    with Adbc(run["flight"], good) as adbc:
        check.that(isinstance(adbc.sql(GOOD), pa.Table), "the good token is refused over Flight SQL: what follows proves nothing")
    bodies = set()
    for kind, token in mint.bad_tokens(roles=["analyst"]).items():
        for path, body in (("/v1/sql", {"sql": GOOD}), ("/v1/tables", None)):
            status, content, headers = Http(run["http"], token).call(path, body)
            check.that(status == 401, f"a token with {kind}: {path} answers {status}")
            challenge = next((value for name, value in headers.items() if name.lower() == "www-authenticate"), "")
            check.that(challenge.lower() == "bearer", f"a token with {kind}: the challenge of {path} is {challenge!r}")
            bodies.add(without_request_id(content))
        if not token:
            continue  # ADBC sends no header for an empty one
        try:
            with Adbc(run["flight"], token) as adbc:
                answer = adbc.sql(GOOD)
        except Exception as error:  # noqa: BLE001 - the driver may refuse at connecting
            answer = Refusal(getattr(getattr(error, "status_code", None), "name", ""), "", None, str(error))
        refused = isinstance(answer, Refusal) and answer.status == "UNAUTHENTICATED"
        check.that(refused, f"a token with {kind}: Flight SQL answers {answer.status if isinstance(answer, Refusal) else 'with rows'}")
    check.that(len(bodies) == 1, f"bad tokens are told apart by {len(bodies)} different bodies")
    for scheme in ("Basic YW5uYTphbm5h", f"bearer{good}", "Negotiate x"):
        status = raw_authorization(run["http"], scheme)
        check.that(status == 401, f"the credentials {scheme.split()[0][:9]!r}: HTTP answers {status}")


def without_request_id(content: bytes) -> str:
    import json

    answer = json.loads(content)
    answer.pop("request_id", None)
    return json.dumps(answer, sort_keys=True)


def raw_authorization(url: str, value: str) -> int:
    import urllib.error
    import urllib.request

    request = urllib.request.Request(url + "/v1/tables", headers={"authorization": value})
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def refused_statements(check: Check, run: dict, mint: Mint) -> None:
    token = mint.token("anna.analyst", roles=["analyst"])
    http = Http(run["http"], token)
    with Adbc(run["flight"], token) as adbc:
        for kind, statements in REFUSED.items():
            for statement in statements:
                answer = http.sql(statement)
                told = (answer.status, answer.code, answer.refused) if isinstance(answer, Refusal) else "rows"
                check.that(told == (400, "refused", kind), f"{statement}: {told}, expected 400 refused {kind}")
                over = adbc.sql(statement)
                check.that(isinstance(over, Refusal) and over.status not in ("INTERNAL", "UNKNOWN"), f"{statement}: over Flight SQL {over if isinstance(over, Refusal) else 'rows'}")
        for statement in ANYHOW:
            answer = http.sql(statement)
            fine = isinstance(answer, Refusal) and answer.status in (400, 404)
            check.that(fine, f"{statement}: {(answer.status, answer.code) if isinstance(answer, Refusal) else 'answered with rows'}")
            check.that(isinstance(adbc.sql(statement), Refusal), f"{statement}: answered over Flight SQL")
        answer = adbc.sql(GOOD)
        check.that(isinstance(answer, pa.Table) and answer.column(0)[0].as_py() > 0, "after the refusals a good statement fails")
        other = adbc.sql("SELECT count(*) AS n FROM curated.clinics WHERE name = ?", ("no such clinic",))
        check.that(isinstance(other, pa.Table) and other.column(0)[0].as_py() == 0, "a parameter over ADBC fails")

    answer = http.sql("SELECT name\nFROM curated.clinics\nWHERE WHERE x")
    told = (answer.status, answer.code, (answer.position or {}).get("line")) if isinstance(answer, Refusal) else "rows"
    check.that(told == (400, "syntax", 3), f"a syntax error in line 3: {told}")
    for body in ({}, {"sql": 5}, {"sql": GOOD, "purpse": "bi"}, {"sql": ""}, {"sql": GOOD, "purpose": 7}):
        status, _, _ = http.call("/v1/sql", body)
        check.that(status == 400, f"the body with {', '.join(body) or 'nothing'}: {status}")


def leaking_errors(check: Check, run: dict, mint: Mint) -> None:
    """A value may stop a statement, but no message repeats it."""
    http = Http(run["http"], mint.token("anna.analyst", roles=["analyst"]))
    for statement in (
        "SELECT CAST(gender AS INT) FROM curated.patients",
        "SELECT 1 / (CASE WHEN region IS NULL THEN 1 ELSE 0 END) FROM curated.patients",
        "SELECT CAST(code_text AS DATE) FROM curated.conditions",
        "SELECT * FROM curated.patients WHERE CAST(patient_id AS INT) > 0",
        "SELECT * FROM curated.patients WHERE CAST(family_name AS INT) > 0",
    ):
        answer = http.sql(statement)
        if isinstance(answer, Refusal):
            words = answer.detail.lower()
            leaked = [word for word in ("female", "male", "massachusetts", "(disorder)", "(finding)") if f"'{word}" in words or f"\"{word}" in words]
            check.that(answer.status == 400 and not leaked, f"{statement}: {answer.status}, its message repeats a value")
    hidden = http.sql("SELECT count(*) AS n FROM curated.patients WHERE family_name IS NOT NULL")
    check.that(hidden == [{"n": 0}], f"a hidden column is told by a filter: {hidden}")


def purposes(check: Check, run: dict, mint: Mint) -> None:
    """A request has one purpose, which the roles must serve."""
    two = mint.token("hanna.head", roles=["doctor", "head_physician"], staff_id="x", clinics=["y"])
    answer = Http(run["http"], two).sql(GOOD)
    check.that(isinstance(answer, Refusal) and answer.status in (400, 403), f"two purposes and none stated: {answer}")
    check.that(isinstance(Http(run["http"], two, "care").sql(GOOD), list), "a stated purpose of one's own is refused")
    for purpose in ("bi", "research", "oversight", "nonsense", "CARE", ""):
        status, _, _ = Http(run["http"], two).call("/v1/sql", {"sql": GOOD, "purpose": purpose})
        check.that(status in (400, 403), f"the purpose {purpose!r}, which is not one's own: {status}")
    for claim in ({"roles": "analyst"}, {"roles": [1, 2]}, {"roles": {"analyst": True}}, {"roles": None}):
        token = mint.token("odd.claims", **claim)
        answer = Http(run["http"], token).sql("SELECT * FROM curated.patients")
        check.that(isinstance(answer, Refusal), f"roles of the wrong type ({type(claim['roles']).__name__}) open a table")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="run.json of `python -m parts config`")
    run = read_run(parser.parse_args().run)
    check, mint = Check(), Mint(run)
    for part in (bad_tokens, refused_statements, leaking_errors, purposes):
        part(check, run, mint)
    print(f"{check.count} statements, {len(check.differences)} differences")
    verdict.give(check.differences)


if __name__ == "__main__":
    main()
