"""Payloads as JSON values, whatever their topic's format, read by other people's libraries.

Avro is read by the schema that the registry gives for a payload's id; Protobuf by a message that is made here, field by
field, and not from the schema's text.
"""

import io
import json
import struct
import urllib.request
from decimal import Decimal

import fastavro
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

AVRO, PROTOBUF = {"erp.payment"}, {"erp.stock_movement"}
TEXTS = ["movement_id", "item_code", "item_name", "batch", "clinic_id", "quantity", "reason", "moved_at"]


class Formats:
    def __init__(self, run: dict):
        self.url = run["parts"]["registry"]["url"]
        self.schemas: dict[int, object] = {}
        file = descriptor_pb2.FileDescriptorProto(name="stock.proto", syntax="proto3")
        message = file.message_type.add(name="StockMovement")
        kinds = descriptor_pb2.FieldDescriptorProto
        for number, name in enumerate(TEXTS, 1):
            kind = kinds.TYPE_DOUBLE if name == "quantity" else kinds.TYPE_STRING
            message.field.add(name=name, number=number, type=kind, label=kinds.LABEL_OPTIONAL)
        pool = descriptor_pool.DescriptorPool()
        pool.Add(file)
        self.movement = message_factory.GetMessageClass(pool.FindMessageTypeByName("StockMovement"))

    def record(self, topic: str, payload: bytes) -> object:
        if topic in AVRO:
            magic, schema_id = struct.unpack(">bI", payload[:5])
            body = io.BytesIO(payload[5:])
            record = fastavro.schemaless_reader(body, self.schema(schema_id), None)
            if magic or body.read():
                raise ValueError(f"{topic}: a payload is more than one record behind a header")
            return plain(record)
        if topic in PROTOBUF:
            # The first message of its schema.
            if payload[0] or payload[5]:
                raise ValueError(f"{topic}: a payload without header")
            message = self.movement.FromString(payload[6:])
            return plain(json_format.MessageToDict(message, preserving_proto_field_name=True))
        return plain(json.loads(payload))

    def schema(self, schema_id: int) -> object:
        if schema_id not in self.schemas:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{self.url}/schemas/ids/{schema_id}", timeout=30) as answer:
                self.schemas[schema_id] = fastavro.parse_schema(json.loads(json.load(answer)["schema"]))
        return self.schemas[schema_id]


def plain(value: object) -> object:
    """What two formats write differently made alike: members that are NULL are left out, and a number is its value."""
    if isinstance(value, dict):
        return {name: plain(member) for name, member in value.items() if member is not None}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        return str(Decimal(str(value)).normalize())
    return value
