"""The two doors of a running Lakeward as clients use them: HTTP by the standard library, Flight SQL by ADBC."""

import datetime
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from decimal import Decimal

import adbc_driver_flightsql.dbapi as flight_sql
import adbc_driver_manager
import pyarrow as pa
from adbc_driver_flightsql import DatabaseOptions

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Refusal:
    """What a client is told instead of rows."""

    status: int | str
    code: str
    refused: str | None
    detail: str
    position: dict | None = None


@dataclass(frozen=True)
class Answer:
    """Rows, and the level of each column where it is told: in the body, and in the header `x-lakeward-levels`."""

    rows: list[dict]
    in_body: dict[str, str]
    in_head: dict[str, str]


class Http:
    """One who asks over HTTP."""

    def __init__(self, url: str, token: str | None, purpose: str | None = None):
        self.url, self.token, self.purpose = url, token, purpose

    def call(self, path: str, body: dict | None = None, accept: str = "application/json") -> tuple[int, bytes, dict]:
        headers = {"accept": accept}
        if self.token is not None:
            headers["authorization"] = f"Bearer {self.token}"
        data = None
        if body is not None:
            data, headers["content-type"] = json.dumps(body).encode(), "application/json"
        request = urllib.request.Request(self.url + path, data=data, headers=headers)
        try:
            with _opener.open(request, timeout=120) as answer:
                return answer.status, answer.read(), dict(answer.headers)
        except urllib.error.HTTPError as error:
            return error.code, error.read(), dict(error.headers)

    def sql(self, statement: str) -> list[dict] | Refusal:
        """Rows with the JSON's own values (numbers as Decimal), or why not."""
        answer = self.answer(statement)
        return answer if isinstance(answer, Refusal) else answer.rows

    def answer(self, statement: str) -> "Answer | Refusal":
        """The rows, and the level of each column as the body and as the head state it."""
        body = {"sql": statement} | ({"purpose": self.purpose} if self.purpose else {})
        status, content, headers = self.call("/v1/sql", body)
        answer = json.loads(content, parse_float=Decimal) if content else {}
        if status != 200:
            return Refusal(status, answer.get("code", ""), answer.get("refused"), answer.get("detail", ""), answer.get("position"))
        if answer.get("error") or answer.get("truncated"):
            raise SystemExit(f"an answer was not whole: {answer.get('error')}, truncated {answer.get('truncated')}")
        head = next((value for name, value in headers.items() if name.lower() == "x-lakeward-levels"), "").split(",")
        names = [column["name"] for column in answer["columns"]]
        return Answer(
            rows=answer["rows"],
            in_body={column["name"]: column["level"] for column in answer["columns"]},
            in_head=dict(zip(names, head, strict=True)) if len(head) == len(names) else {},
        )

    def tables(self) -> dict[str, dict[str, str]] | Refusal:
        """The columns of each visible table, with their levels."""
        status, content, _ = self.call("/v1/tables" + (f"?purpose={self.purpose}" if self.purpose else ""))
        answer = json.loads(content) if content else {}
        if status != 200:
            return Refusal(status, answer.get("code", ""), None, answer.get("detail", ""))
        return {
            f"{table['schema']}.{table['name']}": {column["name"]: column["level"] for column in table["columns"]}
            for table in answer["tables"]
        }

    def access(self) -> dict[str, dict[str, str]] | Refusal:
        """What is told of oneself: the columns of each visible table, with their levels."""
        status, content, _ = self.call("/v1/access" + (f"?purpose={self.purpose}" if self.purpose else ""))
        answer = json.loads(content) if content else {}
        if status != 200:
            return Refusal(status, answer.get("code", ""), None, answer.get("detail", ""))
        return {table["table"]: {column["name"]: column["level"] for column in table["columns"]} for table in answer["tables"]}


class Adbc:
    """One who asks over Flight SQL."""

    def __init__(self, url: str, token: str | None, purpose: str | None = None):
        options = {}
        if token is not None:
            options[DatabaseOptions.AUTHORIZATION_HEADER.value] = f"Bearer {token}"
        if purpose:
            options[DatabaseOptions.RPC_CALL_HEADER_PREFIX.value + "x-lakeward-purpose"] = purpose
        self.connection = flight_sql.connect(url, db_kwargs=options, autocommit=True)

    def __enter__(self) -> "Adbc":
        return self

    def __exit__(self, *_error: object) -> None:
        self.connection.close()

    def sql(self, statement: str, parameters: tuple | None = None) -> pa.Table | Refusal:
        try:
            with self.connection.cursor() as cursor:
                cursor.execute(statement, parameters)
                return cursor.fetch_arrow_table()
        except adbc_driver_manager.Error as error:
            return Refusal(error.status_code.name, "", None, str(error))

    def tables(self) -> dict[str, list[str]]:
        """`schema.table` and its columns, as the metadata calls give them."""
        objects = self.connection.adbc_get_objects(depth="all").read_all().to_pylist()
        return {
            f"{schema['db_schema_name']}.{table['table_name']}": [column["column_name"] for column in table["table_columns"] or []]
            for catalog in objects
            for schema in catalog["catalog_db_schemas"] or []
            for table in schema["db_schema_tables"] or []
        }


def typed(value: object, kind: pa.DataType) -> object:
    """A value of a JSON answer as the Arrow type of its column has it."""
    if value is None:
        return None
    if pa.types.is_timestamp(kind):
        return datetime.datetime.fromisoformat(value)
    if pa.types.is_date(kind):
        return datetime.date.fromisoformat(value)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return bytes.fromhex(value)
    if pa.types.is_decimal(kind):
        return Decimal(str(value))
    return value
