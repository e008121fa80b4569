"""The Spark job that Lakeward's ingest is measured against: Structured Streaming from Kafka into two Delta tables.

It does what a data engineer who knows Spark would write: no Python in the way of the data, one `from_json` with an explicit
schema, native expressions, one explode, `availableNow`, zstd level 1. Each table has a query of its own, side by side; tried
and slower: both tables from one `foreachBatch`, with and without keeping the batch in memory. Its curated table says what
`sql/curated/observations.sql` says, cell for cell: the bench compares. It has no dead letters, no checks and no corrections.

Run it by `tests/parts/python.sh --spark benches/rival/spark.py`. It reads the topic twice, each time into empty tables: the
first time warms the JVM up (a stream runs for days), the second is told, with what the first took beside it. Clock and
processor time, of Python and its JVM together, are counted from before the start of the queries to their end: with the first
batch's plan, without the starts of the JVM and of the session. Prints one JSON object.
"""

import argparse
import json
import os
import resource
import shutil
import time
from pathlib import Path

from parts import places
from pyspark.sql import DataFrame, SparkSession
import shared

CONCEPT = "STRUCT<coding: ARRAY<STRUCT<system: STRING, code: STRING, display: STRING>>, text: STRING>"
CODES = "ARRAY<STRUCT<coding: ARRAY<STRUCT<code: STRING>>>>"
REFERENCE = "STRUCT<reference: STRING>"
VALUES = f"""code: {CONCEPT},
    valueQuantity: STRUCT<value: DOUBLE, comparator: STRING, unit: STRING, code: STRING>,
    valueInteger: BIGINT, valueCodeableConcept: {CONCEPT}, valueString: STRING, interpretation: {CODES},
    referenceRange: ARRAY<STRUCT<low: STRUCT<value: DOUBLE>, high: STRUCT<value: DOUBLE>>>"""
OBSERVATION = f"""STRUCT<resourceType: STRING, id: STRING, status: STRING, category: {CODES}, subject: {REFERENCE},
    encounter: {REFERENCE}, performer: ARRAY<{REFERENCE}>, effectiveDateTime: STRING, effectiveInstant: STRING,
    effectivePeriod: STRUCT<start: STRING>, note: ARRAY<STRUCT<text: STRING>>, {VALUES}, component: ARRAY<STRUCT<{VALUES}>>>"""


def listed(texts: list[str]) -> str:
    """A list of literals."""
    escaped = (text.replace("\\", "\\\\").replace("'", "\\'") for text in texts)
    return ", ".join(f"'{text}'" for text in escaped)


class Codes:
    """Which Codings are special, and which systems are known: the reference tables of `sql/reference`."""

    def __init__(self, special: Path, systems: Path):
        known, codes = shared.table_of(systems), shared.table_of(special)
        self.systems = listed([row["system"] for row in known])
        # A list holds the canonical name of a system; a payload may have any of its names.
        self.codes = listed([f"{row['system']}|{code['code']}" for row in known for code in codes if code["system"] == row["canonical"]])
        self.by_category = listed([row["system"] for row in known if row["matching"] == "category"])

    def special(self, codings: str) -> str:
        """Whether one of the Codings is listed, or nobody can tell of one."""
        return f"""coalesce(exists({codings}, c -> coalesce(c.system NOT IN ({self.systems}), TRUE) OR c.code IS NULL
            OR concat(c.system, '|', c.code) IN ({self.codes})
            OR (c.system IN ({self.by_category}) AND concat(c.system, '|', substring(c.code, 1, 3)) IN ({self.codes}))), FALSE)"""

    def special_values(self, of: str) -> str:
        return f"({self.special(of + '.code.coding')} OR {self.special(of + '.valueCodeableConcept.coding')})"


def reference(text: str) -> str:
    return f"CASE WHEN startswith({text}, 'urn:uuid:') THEN substring({text}, 10) ELSE substring_index({text}, '/', -1) END"


def values(of: str, component: str, codes: Codes) -> str:
    """What an Observation and each of its components have alike, as one struct."""
    coding = f"get({of}.code.coding, 0)"
    return f"""struct(CAST({component} AS BIGINT) AS component,
        {coding}.code AS code,
        {coding}.system AS code_system,
        IF({coding}.system IN ({codes.systems}), {coding}.display, NULL) AS code_text,
        coalesce({of}.valueQuantity.value, CAST({of}.valueInteger AS DOUBLE)) AS value,
        {of}.valueQuantity.comparator AS value_comparator,
        coalesce({of}.valueQuantity.unit, {of}.valueQuantity.code) AS unit,
        get({of}.valueCodeableConcept.coding, 0).code AS value_code,
        coalesce({of}.valueString, {of}.valueCodeableConcept.text) AS value_text,
        get({of}.referenceRange, 0).low.value AS reference_low,
        get({of}.referenceRange, 0).high.value AS reference_high,
        get(get({of}.interpretation, 0).coding, 0).code AS interpretation)"""


def raw(events: DataFrame) -> DataFrame:
    return events.selectExpr(
        "'rival' AS source", "topic", "partition", "offset", "timestamp", "current_timestamp() AS ingested_at",
        "key", "value AS payload",
    )  # fmt: skip


def curated(events: DataFrame, codes: Codes) -> DataFrame:
    """Row 0 for the value of each Observation, then one for each of its components."""
    # A panel whose values are all in its components has no row of its own.
    rows = f"""filter(
        concat(array({values('o', '0', codes)}), coalesce(transform(o.component, (part, place) -> {values('part', 'place + 1', codes)}), array())),
        v -> v.component > 0 OR coalesce(size(o.component), 0) <= 0
          OR v.value IS NOT NULL OR v.value_code IS NOT NULL OR v.value_text IS NOT NULL)"""
    special = f"""{codes.special_values('o')} OR coalesce(exists(o.component, part -> {codes.special_values('part')}), FALSE)
        OR coalesce(size(o.code.coding), 0) <= 0"""
    performer = "get(o.performer, 0).reference"
    staff = f"startswith({performer}, 'urn:uuid:') OR contains({performer}, 'Practitioner/') OR startswith({performer}, 'Practitioner?')"
    return (
        events.selectExpr(f"from_json(CAST(value AS STRING), '{OBSERVATION}') AS o")
        .selectExpr(
            "IF(o.resourceType = 'Observation', o.id, NULL) AS observation_id",
            f"{reference('o.subject.reference')} AS patient_id",
            f"{reference('o.encounter.reference')} AS encounter_id",
            f"IF({staff}, {reference(performer)}, NULL) AS performer",
            "o.status AS status",
            "get(get(o.category, 0).coding, 0).code AS category",
            """coalesce(try_cast(o.effectiveDateTime AS TIMESTAMP), try_cast(o.effectiveInstant AS TIMESTAMP),
                try_cast(o.effectivePeriod.start AS TIMESTAMP)) AS effective_at""",
            r"nullif(concat_ws('\n', get(o.note, 0).text, get(o.note, 1).text, get(o.note, 2).text), '') AS note",
            f"IF({special}, 'special', 'ordinary') AS sensitivity",
            f"explode({rows}) AS v",
        )
        .selectExpr(
            "observation_id", "v.component", "patient_id", "encounter_id", "nullif(performer, patient_id) AS practitioner_id",
            "status", "category", "v.code", "v.code_system", "v.code_text", "v.value", "v.value_comparator", "v.unit",
            "v.value_code", "v.value_text", "v.reference_low", "v.reference_high", "v.interpretation", "effective_at",
            "IF(v.component <= 1, note, NULL) AS note", "sensitivity",
        )
    )  # fmt: skip


def session() -> SparkSession:
    jars = ",".join(str(jar) for jar in sorted(places.SPARK_JARS.glob("*.jar")))
    settings = {
        "spark.jars": jars,
        "spark.driver.memory": "2g",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.parquet.compression.codec": "zstd",
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        "spark.hadoop.parquet.compression.codec.zstd.level": "1",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
    }
    builder = SparkSession.builder.master("local[2]").appName("rival")
    for name, value in settings.items():
        builder = builder.config(name, value)
    made = builder.getOrCreate()
    made.sparkContext.setLogLevel("ERROR")
    return made


class Spent:
    """Seconds by the clock and of the processor, of this process and its JVM."""

    def __init__(self, jvm: int):
        self.jvm, self.cpu, self.at = jvm, self._cpu(jvm), time.perf_counter()

    @staticmethod
    def _cpu(jvm: int) -> float:
        # The second field is the program's name in parentheses and may hold anything.
        fields = Path(f"/proc/{jvm}/stat").read_text().rsplit(")", 1)[1].split()
        own = resource.getrusage(resource.RUSAGE_SELF)
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") + own.ru_utime + own.ru_stime

    def until_now(self) -> tuple[float, float]:
        return time.perf_counter() - self.at, self._cpu(self.jvm) - self.cpu


def peak_memory(jvm: int) -> int:
    lines = Path(f"/proc/{jvm}/status").read_text().splitlines()
    of_jvm = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    return (of_jvm + resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * 1024


def stream(spark: SparkSession, arguments: argparse.Namespace, folder: Path, codes: Codes) -> None:
    """All that stands in the topic, into the two tables of the folder."""
    events = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", arguments.bootstrap)
        .option("subscribe", arguments.topic)
        .option("startingOffsets", "earliest")
        .option("maxOffsetsPerTrigger", max(1, round(arguments.messages * arguments.commit_bytes / arguments.bytes)))
        .load()
    )

    def query(name: str, rows: DataFrame):
        writer = rows.writeStream.format("delta").option("checkpointLocation", str(folder / f"checkpoint-{name}"))
        return writer.trigger(availableNow=True).start(str(folder / name))

    # They share the cores: while one waits for its slowest partition the other goes on.
    for started in [query("raw", raw(events)), query("curated", curated(events, codes))]:
        started.awaitTermination()


def main() -> None:
    arguments = shared.parse(__doc__)
    codes = Codes(arguments.special_codes, arguments.known_systems)
    spark = session()
    jvm = spark.sparkContext._jvm.java.lang.ProcessHandle.current().pid()

    cold = Spent(jvm)
    stream(spark, arguments, arguments.dir / "warming", codes)
    cold_seconds, cold_cpu_seconds = cold.until_now()
    shutil.rmtree(arguments.dir / "warming")
    warm = Spent(jvm)
    stream(spark, arguments, arguments.dir, codes)
    seconds, cpu_seconds = warm.until_now()

    def rows(name: str) -> int:
        return spark.read.format("delta").load(str(arguments.dir / name)).count()

    def stored(name: str) -> int:
        return sum(file.stat().st_size for file in (arguments.dir / name).glob("*.parquet"))

    raw_rows = rows("raw")
    told = {
        "messages": raw_rows,
        "megabytes": arguments.bytes / 1e6,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "raw_rows": raw_rows,
        "curated_rows": rows("curated"),
        "raw_file_bytes": stored("raw"),
        "curated_file_bytes": stored("curated"),
        "compression": "zstd, level 1",
        "peak_memory_bytes": peak_memory(jvm),
        "first_time": {"seconds": cold_seconds, "cpu_seconds": cold_cpu_seconds},
    }
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
