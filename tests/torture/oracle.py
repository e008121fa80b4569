"""Compares the tables, read from S3 by delta-rs' Python package, with what the producer sent and the broker acknowledged.

Raw: every position once, with key and payload as sent. Curated: row for row what an own derivation gives. Dead letters:
the poison and nothing else. Not compared: `ingested_at` (when a process read it), `timestamp` (the broker's; it decides
between equal versions, and is read for that), headers (none are sent), the texts of reasons after their code.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
from clients.lake import Lake

from . import load

PLACE = ["partition", "offset"]


@dataclass
class Findings:
    rows: dict[str, int] = field(default_factory=dict)
    lost: int = 0
    doubled: int = 0
    # What is neither: foreign rows and wrong cells.
    wrong: int = 0
    words: list[str] = field(default_factory=list)

    def add(self, table: str, lost: int = 0, doubled: int = 0, foreign: int = 0, cells: int = 0) -> None:
        self.lost += lost
        self.doubled += doubled
        self.wrong += foreign + cells
        if lost or doubled or foreign or cells:
            self.words.append(f"{table}: {lost} lost, {doubled} doubled, {foreign} nobody sent, {cells} with other cells")


def read(lake: Lake, name: str, columns: list[str]) -> pl.DataFrame:
    table = lake.delta(name)
    hidden = ["_lw_deleted"] if any(one.name == "_lw_deleted" for one in table.schema().fields) else []
    frame = pl.from_arrow(table.to_pyarrow_table(columns=columns + hidden))
    if hidden:
        frame = frame.filter(~pl.col("_lw_deleted").fill_null(False)).drop("_lw_deleted")
    return frame


def compare(name: str, wanted: pl.DataFrame, found: pl.DataFrame, key: list[str], findings: Findings) -> None:
    """Rows by key; all other columns of `wanted` must be equal."""
    findings.rows[name] = found.height
    found = found.with_columns(pl.col(column).cast(kind) for column, kind in wanted.schema.items())
    single = found.unique(key, keep="any")
    doubled = found.height - single.height
    lost = wanted.join(single, on=key, how="anti").height
    foreign = single.join(wanted, on=key, how="anti").height
    cells = [column for column in wanted.columns if column not in key]
    both = wanted.join(single.select(wanted.columns), on=key, how="inner", suffix="_found")
    differ = [pl.col(column).ne_missing(pl.col(f"{column}_found")) for column in cells]
    wrong = both.filter(pl.any_horizontal(differ)).height if cells else 0
    findings.add(name, lost, doubled, foreign, wrong)


def raw(lake: Lake, topic: str, sent: pl.DataFrame, findings: Findings) -> pl.DataFrame:
    """Compares a raw table; gives its positions with Kafka's timestamps."""
    name = f"raw.{topic.replace('.', '_')}"
    found = read(lake, name, ["source", "topic", *PLACE, "timestamp", "payload"])
    elsewhere = found.filter((pl.col("topic") != topic) | (pl.col("source") != found["source"][0])).height if found.height else 0
    findings.add(f"{name} (source and topic)", cells=elsewhere)
    payloads = found.with_columns(pl.col("payload").cast(pl.String))
    compare(name, sent.select(*PLACE, "payload"), payloads, PLACE, findings)
    return found.select(*(pl.col(column).cast(pl.Int64) for column in PLACE), pl.col("timestamp").cast(pl.Int64).alias("time")).unique(PLACE)


def dead(lake: Lake, topic: str, wanted: pl.DataFrame, findings: Findings) -> None:
    name = f"raw.{topic.replace('.', '_')}__dead_letter"
    found = read(lake, name, [*PLACE, "reason"])
    codes = found.with_columns(pl.col("reason").str.extract(r"^(json\.\w+|\w+:\w+|\w+)", 1))
    compare(name, wanted, codes, PLACE, findings)


def judge(lake: Lake, ledger: Path) -> Findings:
    findings = Findings()
    sent = pl.concat([pl.read_parquet(file) for file in sorted(ledger.glob("*.parquet"))])
    by = {topic: sent.filter(pl.col("topic") == topic).drop("topic") for topic in load.PARTITIONS}
    for topic, frame in by.items():
        if frame.height == 0 or frame.unique(PLACE).height != frame.height:
            sys.exit(f"the load itself is not as it should be: {topic}")

    events = by[load.EVENT].with_columns(load.events())
    raw(lake, load.EVENT, events, findings)
    reasons = pl.col("kind").replace_strict(load.POISON, default=None, return_dtype=pl.String).alias("reason")
    poison = events.filter(pl.col("kind") >= 0)
    if poison["kind"].n_unique() != len(load.POISON):
        sys.exit("the load itself is not as it should be: a kind of poison is missing")
    dead(lake, load.EVENT, poison.select(*PLACE, reasons), findings)
    good = events.filter(pl.col("kind") < 0).select(pl.col("partition"), pl.col("offset").alias("position"), pl.col("number").alias("n"), "value", "text")
    compare("curated.events", good, read(lake, "curated.events", good.columns), ["partition", "position"], findings)

    accounts = by[load.ACCOUNT].with_columns(load.accounts())
    times = raw(lake, load.ACCOUNT, accounts, findings)
    # An empty message counts as version 7; of equal versions the later time counts, then the later offset.
    order = accounts.join(times, on=PLACE, how="left").with_columns(pl.col("version").fill_null(7).alias("order")).sort("order", "time", "offset")
    newest = order.group_by("account_id", maintain_order=True).last().filter(pl.col("version").is_not_null())
    if not 0 < newest.height < order["account_id"].n_unique():
        sys.exit("the load itself is not as it should be: all accounts live, or none")
    wanted = newest.select("account_id", "version", "name", "partition", pl.col("offset").alias("position"))
    compare("curated.accounts", wanted, read(lake, "curated.accounts", wanted.columns), ["account_id"], findings)
    # Beside it the same events without the empty ones: of an account that an event of a version above 8 corrects, the newest
    # event alone; of all others every event. An account's versions go up to 7 or to 9, see `load`.
    filled = order.filter(pl.col("version").is_not_null())
    is_corrected = (pl.col("version") > 8).any().over("account_id")
    corrected = filled.filter(is_corrected).group_by("account_id", maintain_order=True).last()
    plain = filled.filter(~is_corrected)
    if corrected.height == 0 or plain.height == 0:
        sys.exit("the load itself is not as it should be: all accounts are corrected, or none")
    balances = pl.concat([corrected, plain.select(corrected.columns)]).select("account_id", "version", "partition", pl.col("offset").alias("position"))
    compare("curated.balances", balances, read(lake, "curated.balances", balances.columns), ["partition", "position"], findings)
    dead(lake, load.ACCOUNT, accounts.select(*PLACE, pl.lit("").alias("reason")).clear(), findings)

    entries = by[load.ENTRY].with_columns(load.entries())
    raw(lake, load.ENTRY, entries, findings)
    wanted = entries.select("partition", pl.col("offset").alias("position"), pl.col("number").alias("n"))
    compare("curated.entries", wanted, read(lake, "curated.entries", wanted.columns), ["partition", "position"], findings)
    dead(lake, load.ENTRY, entries.select(*PLACE, pl.lit("").alias("reason")).clear(), findings)
    return findings


def last(ledger: Path) -> dict[tuple[str, int], int]:
    """The last acknowledged offset of each partition."""
    sent = pl.concat([pl.read_parquet(file) for file in sorted(ledger.glob("*.parquet"))])
    ends = sent.group_by("topic", "partition").agg(pl.col("offset").max())
    return {(topic, partition): offset for topic, partition, offset in ends.iter_rows()}


def behind(lake: Lake, source: str, last: dict[tuple[str, int], int]) -> list[str]:
    """Which tables do not stand behind the last record of a partition yet, by the positions in their logs."""
    made_of = {load.EVENT: ["events"], load.ACCOUNT: ["accounts", "balances"], load.ENTRY: ["entries"]}
    lags = []
    for topic, curated in made_of.items():
        table = f"raw.{topic.replace('.', '_')}"
        for name in (table, f"{table}__dead_letter", *(f"curated.{one}" for one in curated)):
            try:
                log = lake.delta(name)
            except Exception as error:  # The table may not be there yet.
                lags.append(f"{name}: {type(error).__name__}")
                continue
            for (of, partition), offset in last.items():
                if of == topic:
                    at = log.transaction_version(f"lakeward/{name}/{source}/{topic}/{partition}") or 0
                    if at <= offset:
                        lags.append(f"{name} {partition}: at {at} of {offset + 1}")
    return lags
