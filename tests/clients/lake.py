"""The tables as a reader sees them who knows nothing of Lakeward: delta-rs' Python package, straight from S3."""

import argparse
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from .derive import BUNDLES, KEYS, load


def arguments(description: str) -> argparse.ArgumentParser:
    """The options that every check has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--run", type=Path, required=True, help="run.json of `python -m parts config`")
    parser.add_argument("--derived", type=Path, required=True, help="folder that `derive.py` wrote")
    return parser


class Lake:
    """Tables by name (`curated.patients`), live rows and contract columns only."""

    def __init__(self, run: dict):
        s3 = run["parts"]["s3"]
        reader = s3["users"]["reader"]
        self.url = run["storage_url"]
        self.options = {
            "AWS_ENDPOINT_URL": s3["endpoint"],
            "AWS_REGION": s3["region"],
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": Path(reader["access_key_id_file"]).read_text(),
            "AWS_SECRET_ACCESS_KEY": Path(reader["secret_access_key_file"]).read_text(),
        }

    def delta(self, name: str) -> DeltaTable:
        schema, table = name.split(".")
        return DeltaTable(f"{self.url}/{schema}/{table}", storage_options=self.options)

    def read(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """Rows that are not marked as deleted, without the engine's own columns; of raw tables perhaps some columns only."""
        table = pa.table(self.delta(name).to_pyarrow_table(columns=columns))
        if "_lw_deleted" in table.column_names:
            table = table.filter(pc.invert(pc.fill_null(table["_lw_deleted"], False)))
        return table.select([column for column in table.column_names if not column.startswith("_lw_")])

    def rows(self, name: str) -> list[dict]:
        try:
            return self.read(name).to_pylist()
        except TableNotFoundError:
            return []


def raw_name(topic: str) -> str:
    return f"raw.{topic.replace('.', '_')}"


def read_run(path: Path) -> dict:
    return json.loads(path.read_text())


def read_input(derived: Path) -> tuple[dict[str, list[dict]], dict[str, list[dict]]]:
    """The resources of the bundles, and the derived records by topic."""
    records = {topic: [json.loads(line) for line in (derived / f"{topic}.ndjson").read_text().splitlines()] for topic in KEYS}
    return load([Path(path) for path in json.loads((derived / BUNDLES).read_text())]), records
