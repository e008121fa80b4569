"""The plain Python job that Lakeward's ingest is measured against: confluent-kafka, pyarrow and deltalake.

It does what a careful data engineer would write in a day: batches straight from librdkafka, one columnar JSON parse per
batch, curated columns by vectorised kernels, two Delta tables with zstd level 1, offsets in the commit (`txn`). Reading
and parsing run beside writing. Its curated table says what `sql/curated/observations.sql` says, cell for cell: the bench
compares. It has no dead letters, no checks and no corrections: one bad record ends it.
Prints one JSON object; time and CPU are counted from the first poll to the last commit, without imports.
"""

import argparse
import json
import queue
import resource
import threading
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as paj
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from deltalake import CommitProperties, Transaction, WriterProperties, write_deltalake
import shared

CODING = pa.struct([("system", pa.string()), ("code", pa.string()), ("display", pa.string())])
CONCEPT = pa.struct([("coding", pa.list_(CODING)), ("text", pa.string())])
CODES = pa.list_(pa.struct([("coding", pa.list_(pa.struct([("code", pa.string())])))]))
QUANTITY = pa.struct([("value", pa.float64()), ("comparator", pa.string()), ("unit", pa.string()), ("code", pa.string())])
REFERENCE = pa.struct([("reference", pa.string())])
RANGE = pa.list_(pa.struct([("low", pa.struct([("value", pa.float64())])), ("high", pa.struct([("value", pa.float64())]))]))
VALUES = [
    ("code", CONCEPT),
    ("valueQuantity", QUANTITY),
    ("valueInteger", pa.int64()),
    ("valueCodeableConcept", CONCEPT),
    ("valueString", pa.string()),
    ("interpretation", CODES),
    ("referenceRange", RANGE),
]
OBSERVATION = pa.schema(
    [
        ("resourceType", pa.string()),
        ("id", pa.string()),
        ("status", pa.string()),
        ("category", CODES),
        ("subject", REFERENCE),
        ("encounter", REFERENCE),
        ("performer", pa.list_(REFERENCE)),
        ("effectiveDateTime", pa.string()),
        ("effectiveInstant", pa.string()),
        ("effectivePeriod", pa.struct([("start", pa.string())])),
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


class Codes:
    """Which Codings are special, and which systems are known: the reference tables of `sql/reference`."""

    def __init__(self, special: Path, systems: Path):
        known, listed = shared.table_of(systems), shared.table_of(special)
        self.systems = pa.array([row["system"] for row in known], pa.string())
        # A list holds the canonical name of a system; a payload may have any of its names.
        spelled = [(row["system"], code["code"]) for row in known for code in listed if code["system"] == row["canonical"]]
        self.listed = pa.array([f"{system}|{code}" for system, code in spelled], pa.string())
        self.by_category = pa.array([row["system"] for row in known if row["matching"] == "category"], pa.string())

    def special(self, codings: pa.Array) -> pa.Array:
        """Of each Coding whether it is listed, or nobody can tell."""
        system, code = field(codings, "system"), field(codings, "code")
        special = pc.or_(
            pc.or_(pc.invert(pc.is_in(system, value_set=self.systems)), pc.is_null(code)),
            pc.is_in(pc.binary_join_element_wise(system, code, "|"), value_set=self.listed),
        )
        of_category = pc.is_in(system, value_set=self.by_category)
        if not of_category.true_count:
            return special
        categories = pc.binary_join_element_wise(system, pc.utf8_slice_codeunits(code, 0, 3), "|")
        return pc.or_(special, pc.and_(of_category, pc.is_in(categories, value_set=self.listed)))


def at(lists: pa.Array, place: int) -> pa.Array:
    """That element of each list; NULL where it is shorter."""
    places = pc.add(lists.offsets[: len(lists)], pa.scalar(place, pa.int32()))
    return lists.values.take(pc.if_else(pc.greater(pc.list_value_length(lists), place), places, None))


def sensitivity(rows: pa.StructArray, codes: Codes) -> pa.Array:
    """`special` where one Coding of the observation, its value or its components is, or it has no code at all."""
    components = field(rows, "component")
    parts, owners = pc.list_flatten(components), pc.list_parent_indices(components)
    met = [pa.nulls(0, pa.int64())]
    for values, rows_of_values in ((rows, None), (parts, owners)):
        for name in ("code", "valueCodeableConcept"):
            codings = field(values, name, "coding")
            special = pc.list_parent_indices(codings).filter(codes.special(pc.list_flatten(codings)))
            met.append(special if rows_of_values is None else rows_of_values.take(special))
    uncoded = pc.invert(pc.fill_null(pc.greater(pc.list_value_length(field(rows, "code", "coding")), 0), False))
    found = pc.is_in(pa.arange(0, len(rows)), value_set=pa.concat_arrays([array.cast(pa.int64()) for array in met]))
    return pc.if_else(pc.or_(found, uncoded), "special", "ordinary")


def columns_of(values: pa.StructArray, codes: Codes) -> dict[str, pa.Array]:
    """What an Observation and each of its components have alike."""
    coding = first(field(values, "code", "coding"))
    limits = first(field(values, "referenceRange"))
    system, quantity, concept = field(coding, "system"), field(values, "valueQuantity"), field(values, "valueCodeableConcept")
    return {
        "code": field(coding, "code"),
        "code_system": system,
        "code_text": pc.if_else(pc.is_in(system, value_set=codes.systems), field(coding, "display"), None),
        "value": pc.coalesce(field(quantity, "value"), field(values, "valueInteger").cast(pa.float64())),
        "value_comparator": field(quantity, "comparator"),
        "unit": pc.coalesce(field(quantity, "unit"), field(quantity, "code")),
        "value_code": field(first(field(concept, "coding")), "code"),
        "value_text": pc.coalesce(field(values, "valueString"), field(concept, "text")),
        "reference_low": field(limits, "low", "value"),
        "reference_high": field(limits, "high", "value"),
        "interpretation": field(first(field(first(field(values, "interpretation")), "coding")), "code"),
    }


def instant(texts: pa.Array) -> pa.Array:
    return texts.cast(pa.timestamp("us", "UTC"))


def practitioner(rows: pa.StructArray, patient: pa.Array) -> pa.Array:
    performer = field(first(field(rows, "performer")), "reference")
    staff = pc.match_substring_regex(performer, r"^urn:uuid:|Practitioner/|^Practitioner\?")
    named = reference(performer)
    return pc.if_else(pc.and_(staff, pc.fill_null(pc.not_equal(named, patient), True)), named, None)


def notes(rows: pa.StructArray) -> pa.Array:
    """Up to three notes, each on its line."""
    lists = field(rows, "note")
    if not len(lists.values):
        return pa.nulls(len(rows), pa.string())
    joined = pc.binary_join_element_wise(*(field(at(lists, place), "text") for place in range(3)), "\n", null_handling="skip")
    return pc.if_else(pc.equal(joined, ""), None, joined)


def parse(payloads: list[bytes]) -> list[pa.RecordBatch]:
    """One columnar parse; blocks of a size that the caches like."""
    lines = pa.py_buffer(b"\n".join(payloads))
    options = paj.ParseOptions(explicit_schema=OBSERVATION, unexpected_field_behavior="ignore")
    read = paj.ReadOptions(use_threads=False, block_size=8_000_000)
    return paj.read_json(pa.BufferReader(lines), read_options=read, parse_options=options).to_batches()


def curated(batch: pa.RecordBatch, codes: Codes) -> list[pa.Table]:
    """Row 0 for the value of each Observation, then one for each of its components."""
    rows = batch.to_struct_array()
    identified = pc.if_else(pc.equal(field(rows, "resourceType"), "Observation"), field(rows, "id"), None)
    patient = reference(field(rows, "subject", "reference"))
    times = field(rows, "effectiveDateTime"), field(rows, "effectiveInstant"), field(rows, "effectivePeriod", "start")
    own = {
        "observation_id": identified,
        "component": pa.repeat(pa.scalar(0, pa.int64()), len(rows)),
        "patient_id": patient,
        "encounter_id": reference(field(rows, "encounter", "reference")),
        "practitioner_id": practitioner(rows, patient),
        "status": field(rows, "status"),
        "category": field(first(field(first(field(rows, "category")), "coding")), "code"),
        "effective_at": pc.coalesce(*(instant(texts) for texts in times)),
        "note": notes(rows),
        "sensitivity": sensitivity(rows, codes),
    }
    whole = pa.table({**own, **columns_of(rows, codes)})
    lists = field(rows, "component")
    parents = pc.list_parent_indices(lists)
    if not len(parents):
        return [whole]
    # A panel whose values are all in its components has no row of its own.
    valued = [pc.is_valid(whole[name]) for name in ("value", "value_code", "value_text")]
    alone = pc.equal(pc.fill_null(pc.list_value_length(lists), 0), 0)
    kept = whole.filter(pc.or_(pc.or_(alone, valued[0]), pc.or_(valued[1], valued[2])))
    inherited = pa.table(own).take(parents)
    # The number of a component: how far it stands behind the first of its list, counted from 1.
    begins = pc.subtract(lists.offsets.take(parents), lists.offsets[0]).cast(pa.int64())
    numbers = pc.add(pc.subtract(pa.arange(0, len(parents)), begins), 1)
    inherited = inherited.set_column(1, "component", numbers)
    noted = pc.if_else(pc.equal(numbers, 1), inherited["note"], None)
    inherited = inherited.set_column(inherited.column_names.index("note"), "note", noted)
    exploded = pa.table({**dict(zip(inherited.column_names, inherited.columns)), **columns_of(pc.list_flatten(lists), codes)})
    return [kept, exploded]


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


def ingest(arguments: argparse.Namespace, codes: Codes) -> dict:
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
        tables = [table for batch in parse(payloads) for table in curated(batch, codes)]
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
    if payload_bytes != arguments.bytes:
        raise RuntimeError(f"read {payload_bytes} bytes of {arguments.bytes}")
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
    arguments = shared.parse(__doc__)
    # One thread for Arrow's kernels: the writers are the second; more only cost CPU on the same cores.
    pa.set_cpu_count(1)
    print(json.dumps(ingest(arguments, Codes(arguments.special_codes, arguments.known_systems)), indent=2))


if __name__ == "__main__":
    main()
