"""Avro and Protobuf behind a schema registry's header, written by other people's libraries, and what becomes of them.

`register` makes the topics and tells the registry the schemas: the reader's own, a newer one (a field more, one less, an
`int` where the reader has a `long`), and Protobuf with the message not the first of its file. `send` sends good records
among those that nobody should send; it needs no registry. `waiting` is asked while the registry is away: all stands in the
raw tables, and nothing anywhere else, least of all among the dead letters. `landed` is asked after it came back.
"""

import argparse
import datetime
import io
import json
import struct
import sys
import time
import urllib.request
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import fastavro
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2

from . import verdict
from .lake import Lake, raw_name, read_run
from .values import canonical

PAYMENTS, MOVEMENTS = "erp.framed_payment", "erp.framed_movement"
TABLES = {PAYMENTS: ("curated.framed_payments", "payment_id"), MOVEMENTS: ("curated.framed_movements", "movement_id")}
GOOD = 200
PARTITION = 0
PATIENCE = 90.0
UNKNOWN_ID = 2_000_000_000
LARGE = 10_000_000
LONG = LARGE // 2
DEPTH = 10_000
MOMENT = datetime.datetime(2024, 5, 6, 7, 8, 9, tzinfo=datetime.UTC)
YEAR_30000 = 884_541_340_800

NEWER = {
    "type": "record",
    "name": "Payment",
    "namespace": "tests.erp",
    "fields": [
        {"name": "channel", "type": "string", "default": "desk"},
        {"name": "visits", "type": "int"},
        {"name": "payment_id", "type": "string"},
    ],
}
UNRESOLVED = {"type": "record", "name": "Payment", "namespace": "tests.erp", "fields": [{"name": "payment_id", "type": "long"}]}
SECOND = """syntax = "proto3"; package tests.erp;
message Header { string origin = 1; }
message Movement { string movement_id = 1; optional double quantity = 2; Movement next = 15; }
"""


def avro(schema: dict, record: dict) -> bytes:
    body = io.BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(json.loads(json.dumps(schema))), record)
    return body.getvalue()


def movement_class() -> type:
    """The message `Movement` as the schema's file has it, made without its text."""
    file = descriptor_pb2.FileDescriptorProto(name="movement.proto", package="tests.erp", syntax="proto3", dependency=[timestamp_pb2.DESCRIPTOR.name])
    message = file.message_type.add(name="Movement")
    kinds = descriptor_pb2.FieldDescriptorProto
    for number, (name, kind) in enumerate([("movement_id", kinds.TYPE_STRING), ("quantity", kinds.TYPE_DOUBLE), ("pieces", kinds.TYPE_UINT64)], 1):
        field = message.field.add(name=name, number=number, type=kind, label=kinds.LABEL_OPTIONAL)
        if number > 1:
            field.proto3_optional, field.oneof_index = True, number - 2
            message.oneof_decl.add(name=f"_{name}")
    message.field.add(name="moved_at", number=4, type=kinds.TYPE_MESSAGE, type_name=".google.protobuf.Timestamp", label=kinds.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tests.erp.Movement"))


def framed(schema_id: int, body: bytes) -> bytes:
    return struct.pack(">bI", 0, schema_id) + body


def varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out, number = out + bytes([number & 0x7F | 0x80]), number >> 7
    return out + bytes([number])


Sent = tuple[str, bytes, bytes, str | None, dict | None]


def records(run: dict, ids: dict[str, int]) -> list[Sent]:
    """Topic, key, payload, and the beginning of the reason or the row that it becomes."""
    schema = json.loads((Path(run["lakehouse"]) / "schemas" / f"{PAYMENTS}.avsc").read_text())
    movement = movement_class()
    out: list[Sent] = []

    def payment(key: str, reason: str | None, body: bytes, schema_id: int | None = None, row: dict | None = None, header: bool = True) -> None:
        payload = framed(ids["avro"] if schema_id is None else schema_id, body) if header else body
        out.append((PAYMENTS, key.encode(), payload, reason, row))

    def moved(key: str, reason: str | None, body: bytes, schema_id: int | None = None, row: dict | None = None) -> None:
        out.append((MOVEMENTS, key.encode(), framed(ids["protobuf"] if schema_id is None else schema_id, body), reason, row))

    def good(number: int) -> None:
        key, at = f"good-{number}", MOMENT + datetime.timedelta(minutes=number)
        if number % 3 == 0:
            row = {"payment_id": key, "amount": None, "visits": number, "paid_at": None, "service": None}
            payment(key, None, avro(NEWER, {"channel": "web", "visits": number, "payment_id": key}), ids["newer"], row)
        else:
            amount = Decimal(number) / 100
            record = {"payment_id": key, "amount": amount, "visits": None, "weight": None, "paid_at": at, "services": [{"code": f"S{number}"}]}
            payment(key, None, avro(schema, record), row={"payment_id": key, "amount": amount, "visits": None, "paid_at": at, "service": f"S{number}"})
        if number % 3 == 0:
            # The second message of its file; what its schema lacks is NULL.
            body = b"\x02\x02" + movement(movement_id=key, quantity=number / 4).SerializeToString()
            moved(key, None, body, ids["second"], {"movement_id": key, "quantity": number / 4, "pieces": None, "moved_at": None})
        else:
            message = movement(movement_id=key, pieces=number)
            message.moved_at.FromDatetime(at)
            moved(key, None, b"\x00" + message.SerializeToString(), row={"movement_id": key, "quantity": None, "pieces": number, "moved_at": at})

    def whole(key: str, **more: object) -> bytes:
        return avro(schema, {"payment_id": key, "amount": None, "visits": None, "weight": None, "paid_at": None, "services": [], **more})

    late = avro({**schema, "fields": [field if field["name"] != "paid_at" else {"name": "paid_at", "type": ["null", "long"]} for field in schema["fields"]]},
                {"payment_id": "late", "amount": None, "visits": None, "weight": None, "paid_at": YEAR_30000 * 1000, "services": []})  # fmt: skip
    bad_payments = [
        lambda: payment("unknown", "schema.unknown", whole("unknown"), UNKNOWN_ID),
        lambda: payment("unresolved", "schema.unresolved", whole("unresolved"), ids["unresolved"]),
        lambda: payment("kind", "schema.kind", whole("kind"), ids["protobuf"]),
        lambda: payment("truncated", "avro.", whole("truncated")[:-1]),
        lambda: payment("trailing", "avro.trailing", whole("trailing") + b"\x00"),
        lambda: payment("plain", "framing.missing", b'{"payment_id": "plain"}', header=False),
        lambda: payment("late", "value.range: $.paid_at", late),
        lambda: payment("nan", "value.not_finite: $.weight", whole("nan", weight=float("nan"))),
        lambda: payment("infinite", "value.not_finite: $.weight", whole("infinite", weight=float("-inf"))),
        lambda: payment("another", "key.contradicts: $.payment_id", whole("contradicted")),
        lambda: payment("utf8", "avro.malformed", whole("utf8").replace(b"utf8", b"\xff\xfe\xfd\xfc")),
        lambda: payment("large", "payload.size", whole("large", services=[{"code": "x" * LARGE}])),
        lambda: payment("long", None, whole("long", services=[{"code": "x" * LONG}]), row={"payment_id": "long", "amount": None, "visits": None, "paid_at": None, "service": "x" * LONG}),
    ]  # fmt: skip
    deep = b""
    for _ in range(DEPTH):
        deep = b"\x7a" + varint(len(deep)) + deep
    nan, late_movement = movement(movement_id="nan", quantity=float("nan")), movement(movement_id="late")
    late_movement.moved_at.seconds = YEAR_30000
    bad_movements = [
        lambda: moved("unknown", "schema.unknown", b"\x00", UNKNOWN_ID),
        lambda: moved("kind", "schema.kind", b"\x00", ids["avro"]),
        lambda: moved("index", "protobuf.index", b"\x02\x04" + movement(movement_id="index").SerializeToString()),
        lambda: moved("truncated", "protobuf.malformed", b"\x00" + movement(movement_id="truncated").SerializeToString()[:-1]),
        lambda: moved("undeclared", "protobuf.undeclared", b"\x00" + movement(movement_id="undeclared").SerializeToString() + b"\x78\x01"),
        lambda: moved("nan", "value.not_finite: $.quantity", b"\x00" + nan.SerializeToString()),
        lambda: moved("overflow", "value.range: $.pieces", b"\x00" + movement(movement_id="overflow", pieces=2**64 - 1).SerializeToString()),
        lambda: moved("late", "value.range: $.moved_at", b"\x00" + late_movement.SerializeToString()),
        lambda: moved("another", "key.contradicts: $.movement_id", b"\x00" + movement(movement_id="contradicted").SerializeToString()),
        lambda: moved("deep", "protobuf.malformed", b"\x02\x02" + deep, ids["second"]),
    ]
    bad = [*bad_payments, *bad_movements]
    for number in range(GOOD):
        good(number)
        if number < len(bad):
            bad[number]()
    return out


def client(run: dict, user: str) -> dict[str, object]:
    kafka = run["parts"]["kafka"]
    account = kafka["users"][user]
    return {
        "bootstrap.servers": kafka["bootstrap"],
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": kafka["mechanism"],
        "sasl.username": account["name"],
        "sasl.password": Path(account["password_file"]).read_text().strip(),
        "ssl.ca.location": kafka["ca"],
    }


def registered(run: dict, subject: str, kind: str, schema: str) -> int:
    request = urllib.request.Request(
        f"{run['parts']['registry']['url']}/subjects/{subject}/versions",
        data=json.dumps({"schema": schema, "schemaType": kind}).encode(),
        headers={"content-type": "application/vnd.schemaregistry.v1+json"},
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
        return json.load(answer)["id"]


def register(run: dict, note: Path) -> None:
    topics = [NewTopic(topic, 1, 1, config={"max.message.bytes": str(run["parts"]["kafka"]["largest_message"])}) for topic in TABLES]
    admin = AdminClient(client(run, "admin"))
    for future in admin.create_topics(topics).values():
        future.result(30)
    schemas = Path(run["lakehouse"]) / "schemas"
    ids = {
        "avro": registered(run, f"{PAYMENTS}-value", "AVRO", (schemas / f"{PAYMENTS}.avsc").read_text()),
        "newer": registered(run, f"{PAYMENTS}-newer", "AVRO", json.dumps(NEWER)),
        "unresolved": registered(run, f"{PAYMENTS}-unresolved", "AVRO", json.dumps(UNRESOLVED)),
        "protobuf": registered(run, f"{MOVEMENTS}-value", "PROTOBUF", (schemas / f"{MOVEMENTS}.proto").read_text()),
        "second": registered(run, f"{MOVEMENTS}-second", "PROTOBUF", SECOND),
    }
    note.write_text(json.dumps(ids))
    print(f"registered {ids}")


def send(run: dict, sent: list[Sent]) -> None:
    producer, failures = Producer({**client(run, "producer"), "message.max.bytes": 2 * LARGE}), []

    def delivered(error: object, _message: object) -> None:
        if error:
            failures.append(str(error))

    for topic, key, payload, _reason, _row in sent:
        producer.produce(topic, key=key, value=payload, partition=PARTITION, on_delivery=delivered)
    producer.flush(60)
    if failures:
        sys.exit(f"the broker refused: {failures[:3]}")
    print(f"{len(sent)} records sent")


def until(what: str, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            sys.exit(f"after {PATIENCE:.0f} s still not: {what}")
        time.sleep(0.5)


def waiting(lake: Lake, sent: list[Sent]) -> None:
    for topic, (table, _) in TABLES.items():
        count = sum(record[0] == topic for record in sent)
        until(f"{raw_name(topic)} has all", lambda topic=topic, count=count: len(lake.rows(raw_name(topic))) == count)
    # What would be wrong would be so by now.
    time.sleep(5)
    rows = {name: len(lake.rows(name)) for topic, (table, _) in TABLES.items() for name in (table, f"{raw_name(topic)}__dead_letter")}
    print(f"while the registry is away: {rows}")
    verdict.give([f"{name} has {count} rows" for name, count in rows.items() if count])


def landed(lake: Lake, sent: list[Sent]) -> None:
    differences = []
    for topic, (table, key) in TABLES.items():
        of = [record for record in sent if record[0] == topic]
        wanted = {row[key]: row for *_, row in of if row is not None}
        letters = {}

        def collected(topic: str = topic, table: str = table, of: list[Sent] = of, letters: dict = letters) -> bool:
            letters.update({row["offset"]: row for row in lake.rows(f"{raw_name(topic)}__dead_letter")})
            return len(letters) + len(lake.rows(table)) >= len(of)

        until(f"all of {topic} has become something", collected)
        found = {row[key]: row for row in lake.rows(table)}
        if found.keys() != wanted.keys():
            differences.append(f"{table}: rows of other keys than expected: {sorted(found.keys() ^ wanted.keys())[:5]}")
        for name in found.keys() & wanted.keys():
            if {column: canonical(value) for column, value in found[name].items()} != {column: canonical(value) for column, value in wanted[name].items()}:
                differences.append(f"{table}: the row of {name} is another")
        for offset, (_, name, payload, reason, _row) in enumerate(of):
            letter = letters.get(offset)
            if reason is None and letter is not None:
                differences.append(f"{topic} {name}: is a dead letter for `{letter['reason']}`")
            if reason is not None and (letter is None or not letter["reason"].startswith(reason) or letter["payload"] != payload):
                differences.append(f"{topic} {name}: expected `{reason}`, found `{letter and letter['reason']}`")
        print(f"{topic}: {len(found)} rows, {len(letters)} dead letters")
    verdict.give(differences)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="run.json of `python -m parts config`")
    parser.add_argument("step", choices=["register", "send", "waiting", "landed"])
    options = parser.parse_args()
    run = read_run(options.run)
    note = options.run.parent / "ids.json"
    if options.step == "register":
        register(run, note)
        return
    sent = records(run, json.loads(note.read_text()))
    if options.step == "send":
        send(run, sent)
        return
    lake = Lake({**run, "storage_url": "s3://lake/framed"})
    {"waiting": waiting, "landed": landed}[options.step](lake, sent)


if __name__ == "__main__":
    main()
