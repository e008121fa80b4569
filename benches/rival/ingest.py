"""The plain Python job that Lakeward's ingest is measured against: confluent-kafka, pyarrow and deltalake.

It does what a careful data engineer would write in a day: batches straight from librdkafka, one columnar JSON parse per
batch, curated columns by vectorised kernels, two Delta tables with zstd level 1, offsets in the commit (`txn`). Reading
and parsing run beside writing. It has no dead letters, no checks and no corrections: one bad record ends it.
Prints one JSON object; time and CPU are counted from the first poll to the last commit, without imports.
"""

import argparse
import json
import queue
import resource
import shutil
import threading
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as paj
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from deltalake import CommitProperties, Transaction, WriterProperties, write_deltalake

CODING = pa.struct([("system", pa.string()), ("code", pa.string()), ("display", pa.string())])
CONCEPT = pa.struct([("coding", pa.list_(CODING)), ("text", pa.string())])
QUANTITY = pa.struct([("value", pa.float64()), ("unit", pa.string()), ("code", pa.string())])
REFERENCE = pa.struct([("reference", pa.string())])
RANGE = pa.list_(pa.struct([("low", pa.struct([("value", pa.float64())])), ("high", pa.struct([("value", pa.float64())]))]))
VALUES = [
    ("code", CONCEPT),
    ("valueQuantity", QUANTITY),
    ("valueCodeableConcept", CONCEPT),
    ("valueString", pa.string()),
    ("interpretation", pa.list_(CONCEPT)),
    ("referenceRange", RANGE),
]
OBSERVATION = pa.schema(
    [
        ("id", pa.string()),
        ("status", pa.string()),
        ("category", pa.list_(CONCEPT)),
        ("subject", REFERENCE),
        ("encounter", REFERENCE),
        ("performer", pa.list_(REFERENCE)),
        ("effectiveDateTime", pa.string()),
        ("note", pa.list_(pa.struct([("text", pa.string())]))),
        *VALUES,
        ("component", pa.list_(pa.struct(VALUES))),
    ]
)
COMPRESSION = WriterProperties(compression="ZSTD", compression_level=1)


def first(lists: pa.Array) -> pa.Array:
    """The first element of each list; NULL for an empty one."""
    starts = lists.offsets[: len(lists)]
    return lists.values.take(pc.if_else(pc.greater(pc.list_value_length(lists), 0), starts, None))


def field(structs: pa.Array, *path: str) -> pa.Array:
    for name in path:
        structs = pc.struct_field(structs, name)
    return structs


def reference(texts: pa.Array) -> pa.Array:
    return pc.replace_substring_regex(texts, r"^(urn:uuid:|[A-Za-z]+/)", "")


def columns_of(values: pa.StructArray, special: pa.Array) -> dict[str, pa.Array]:
    """What an Observation and each of its components have alike."""
    coding = first(field(values, "code", "coding"))
    answer = first(field(values, "valueCodeableConcept", "coding"))
    limits = first(field(values, "referenceRange"))
    code = field(coding, "code")
    return {
        "code": code,
        "code_system": field(coding, "system"),
        "code_text": field(coding, "display"),
        "value": field(values, "valueQuantity", "value"),
        "unit": field(values, "valueQuantity", "unit"),
        "value_code": field(answer, "code"),
        "value_text": pc.coalesce(field(values, "valueString"), field(values, "valueCodeableConcept", "text")),
        "reference_low": field(limits, "low", "value"),
        "reference_high": field(limits, "high", "value"),
        "interpretation": field(first(field(first(field(values, "interpretation")), "coding")), "code"),
        "sensitivity": pc.if_else(pc.is_in(code, value_set=special), "special", "ordinary"),
    }


def parse(payloads: list[bytes]) -> list[pa.RecordBatch]:
    """One columnar parse; blocks of a size that the caches like."""
    lines = pa.py_buffer(b"\n".join(payloads))
    options = paj.ParseOptions(explicit_schema=OBSERVATION, unexpected_field_behavior="ignore")
    read = paj.ReadOptions(use_threads=False, block_size=8_000_000)
    return paj.read_json(pa.BufferReader(lines), read_options=read, parse_options=options).to_batches()


def curated(batch: pa.RecordBatch, special: pa.Array) -> list[pa.Table]:
    """One row for each Observation and one for each of its components."""
    rows = batch.to_struct_array()
    own = {
        "observation_id": field(rows, "id"),
        "component": pa.repeat(pa.scalar(0, pa.int64()), len(rows)),
        "patient_id": reference(field(rows, "subject", "reference")),
        "encounter_id": reference(field(rows, "encounter", "reference")),
        "practitioner_id": reference(field(first(field(rows, "performer")), "reference")),
        "status": field(rows, "status"),
        "category": field(first(field(first(field(rows, "category")), "coding")), "code"),
        "effective_at": field(rows, "effectiveDateTime").cast(pa.timestamp("us", "UTC")),
        "note": field(first(field(rows, "note")), "text"),
    }
    whole = pa.table({**own, **columns_of(rows, special)})
    lists = field(rows, "component")
    parents = pc.list_parent_indices(lists)
    if not len(parents):
        return [whole]
    inherited = pa.table(own).take(parents)
    # The number of a component: how far it stands behind the first of its list, counted from 1.
    begins = pc.subtract(lists.offsets.take(parents), lists.offsets[0]).cast(pa.int64())
    numbers = pc.add(pc.subtract(pa.array(range(len(parents)), pa.int64()), begins), 1)
    inherited = inherited.set_column(1, "component", numbers)
    exploded = pa.table({**dict(zip(inherited.column_names, inherited.columns)), **columns_of(pc.list_flatten(lists), special)})
    return [whole, exploded]


def raw(messages: list, payloads: list[bytes], topic: str) -> pa.Table:
    count = len(messages)
    now = int(time.time() * 1e6)
    return pa.table(
        {
            "source": pa.repeat("rival", count),
            "topic": pa.repeat(topic, count),
            "partition": pa.array([message.partition() for message in messages], pa.int32()),
            "offset": pa.array([message.offset() for message in messages], pa.int64()),
            "timestamp": pa.array([message.timestamp()[1] for message in messages], pa.int64()).cast(pa.timestamp("ms", "UTC")).cast(pa.timestamp("us", "UTC")),
            "ingested_at": pa.repeat(pa.scalar(now, pa.timestamp("us", "UTC")), count),
            "key": pa.array([message.key() for message in messages], pa.binary()),
            "payload": pa.array(payloads, pa.binary()),
        }
    )


class Writer(threading.Thread):
    """Writes one table, one commit per batch, with the offsets it reaches."""

    def __init__(self, path: Path, topic: str):
        super().__init__(name=path.name)
        self.path, self.topic = path, topic
        self.batches: queue.Queue = queue.Queue(maxsize=2)
        self.rows = 0
        self.error: Exception | None = None

    def run(self) -> None:
        while (batch := self.batches.get()) is not None:
            if self.error is not None:
                continue
            try:
                table, offsets = batch
                progress = [Transaction(f"rival/{self.path.name}/{self.topic}/{partition}", offset) for partition, offset in offsets.items()]
                write_deltalake(
                    str(self.path), table, mode="append", writer_properties=COMPRESSION,
                    commit_properties=CommitProperties(app_transactions=progress),
                )  # fmt: skip
                self.rows += table.num_rows
            except Exception as error:  # noqa: BLE001 - told to the main thread, which ends
                self.error = error

    def close(self) -> None:
        self.batches.put(None)
        self.join()
        if self.error is not None:
            raise self.error


def ingest(arguments: argparse.Namespace, special: pa.Array) -> dict:
    consumer = Consumer(
        {
            "bootstrap.servers": arguments.bootstrap,
            "group.id": "rival",
            "enable.auto.commit": False,
            "enable.partition.eof": False,
            "fetch.min.bytes": 1_000_000,
            "fetch.message.max.bytes": 8_000_000,
            "queued.max.messages.kbytes": 131_072,
            "check.crcs": False,
        }
    )
    partitions = consumer.list_topics(arguments.topic, 10).topics[arguments.topic].partitions
    consumer.assign([TopicPartition(arguments.topic, partition, OFFSET_BEGINNING) for partition in partitions])
    writers = raw_writer, curated_writer = Writer(arguments.dir / "raw", arguments.topic), Writer(arguments.dir / "curated", arguments.topic)

    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    for writer in writers:
        writer.start()
    seen = payload_bytes = 0
    offsets: dict[int, int] = {}
    messages: list = []
    payloads: list[bytes] = []
    held = 0

    def commit() -> None:
        nonlocal messages, payloads, held
        raw_writer.batches.put((raw(messages, payloads, arguments.topic), dict(offsets)))
        tables = [table for batch in parse(payloads) for table in curated(batch, special)]
        curated_writer.batches.put((pa.concat_tables(tables), dict(offsets)))
        messages, payloads, held = [], [], 0

    while seen < arguments.messages:
        batch = consumer.consume(min(20_000, arguments.messages - seen), 1.0)
        for message in batch:
            if message.error() is not None:
                raise RuntimeError(message.error().str())
            payload = message.value()
            payloads.append(payload)
            held += len(payload)
            offsets[message.partition()] = message.offset() + 1
        messages += batch
        seen += len(batch)
        if held >= arguments.commit_bytes:
            payload_bytes += held
            commit()
    if messages:
        payload_bytes += held
        commit()
    for writer in writers:
        writer.close()
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    consumer.close()

    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def stored(name: str) -> int:
        return sum(file.stat().st_size for file in (arguments.dir / name).rglob("*.parquet"))

    return {
        "messages": seen,
        "megabytes": payload_bytes / 1e6,
        "seconds": seconds,
        "cpu_seconds": cpu,
        "megabytes_per_second": payload_bytes / 1e6 / seconds,
        "megabytes_per_cpu_second": payload_bytes / 1e6 / cpu,
        "raw_rows": raw_writer.rows,
        "curated_rows": curated_writer.rows,
        "raw_file_bytes": stored("raw"),
        "curated_file_bytes": stored("curated"),
        "compression": "zstd, level 1",
        "peak_memory_bytes": after.ru_maxrss * 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", default="clinic.observation")
    parser.add_argument("--messages", type=int, required=True, help="how many to read before it ends")
    parser.add_argument("--dir", type=Path, required=True, help="folder of the two tables; emptied first")
    parser.add_argument("--commit-bytes", type=int, default=64_000_000)
    parser.add_argument("--special-codes", type=Path, help="CSV with a column `code`")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.dir, ignore_errors=True)
    arguments.dir.mkdir(parents=True)
    codes: list[str] = []
    if arguments.special_codes:
        rows = [line.split(",") for line in arguments.special_codes.read_text().splitlines()]
        column = rows[0].index("code")
        codes = [row[column] for row in rows[1:]]
    # One thread for Arrow's kernels: the writers are the second; more only cost CPU on the same cores.
    pa.set_cpu_count(1)
    print(json.dumps(ingest(arguments, pa.array(codes, pa.string())), indent=2))


if __name__ == "__main__":
    main()
