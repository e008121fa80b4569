"""A broker on loopback with a topic full of Synthea's Observations, for all sides of ingest.

Run it by `tests/parts/python.sh benches/rival/broker.py --dir DIR --megabytes 250`. It prints one JSON line (bootstrap,
topic, messages, bytes) when the topic is full, and ends when its standard input closes.
Synthea's five lives hold 9 MB of Observations: they are sent again and again under new ids, as other patients'.

The broker is one in plain text. With `--secured` it is the one of the tests, over SASL_SSL, with an S3 server over TLS
beside it; the line then says where its credentials stand. With `--poison N` one of N messages is cut in the middle.
"""

import argparse
import json
import sys
import time
import uuid
from pathlib import Path

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from parts import places
from parts.__main__ import Parts
from parts.kafka import plaintext_broker

TOPIC = "clinic.observation"
PARTITIONS = 3


def observations() -> list[dict]:
    """Every Observation of the bundles, in their order."""
    found = []
    for path in places.bundles():
        entries = json.loads(path.read_text())["entry"]
        found += [entry["resource"] for entry in entries if entry["resource"]["resourceType"] == "Observation"]
    return found


def identified(observation: dict) -> set[str]:
    """The ids in it that another life must not share: its own, its patient's and its encounter's."""
    references = (observation.get("subject", {}).get("reference"), observation.get("encounter", {}).get("reference"))
    return {observation["id"], *(text.rsplit(":", 1)[-1].rsplit("/", 1)[-1] for text in references if text)}


def create(client: dict[str, str]) -> None:
    # It must outlive the answer.
    admin = AdminClient(client)
    admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)])[TOPIC].result(30)


def be_grouped(client: dict[str, str]) -> None:
    """Has a consumer group come and go: a broker's first one waits seconds for the topic of groups, in nobody's time here."""
    consumer = Consumer({**client, "group.id": "lakeward-first", "enable.auto.commit": False})
    consumer.subscribe([TOPIC])
    until = time.monotonic() + 60
    while not consumer.assignment():
        if time.monotonic() > until:
            sys.exit("the broker's first consumer group did not come about in a minute")
        consumer.poll(0.1)
    consumer.close()


def fill(client: dict[str, str], megabytes: float, poison: int) -> dict[str, int]:
    """Sends at least so many megabytes of payload, of `poison` messages one cut in the middle; tells how much it was."""
    producer = Producer({**client, "linger.ms": 50, "batch.size": 1_000_000, "queue.buffering.max.kbytes": 1_000_000})
    originals = [
        (one["id"], json.dumps(one, separators=(",", ":"), ensure_ascii=False), sorted(identified(one))) for one in observations()
    ]
    messages = sent = poisoned = life = 0
    while sent < megabytes * 1e6:
        for own_id, text, ids in originals:
            for old in ids if life else ():
                text = text.replace(old, str(uuid.uuid5(uuid.NAMESPACE_OID, f"{life}/{old}")))
            key = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{life}/{own_id}")) if life else own_id
            payload = text.encode()
            messages += 1
            if poison and messages % poison == 0:
                payload = payload[: len(payload) // 2]
                poisoned += 1
            while True:
                try:
                    producer.produce(TOPIC, payload, key)
                    break
                except BufferError:
                    producer.poll(0.1)
            sent += len(payload)
            if sent >= megabytes * 1e6:
                break
        producer.poll(0)
        life += 1
    producer.flush()
    return {"messages": messages, "bytes": sent, "poisoned": poisoned}


def tell(bootstrap: str, filled: dict[str, int], **more: object) -> None:
    """Says that the topic is full, and waits until nobody needs it any more."""
    print(json.dumps({"bootstrap": bootstrap, "topic": TOPIC, **filled, **more}), flush=True)
    sys.stdin.read()


def plain(folder: Path, megabytes: float, poison: int) -> None:
    child, bootstrap = plaintext_broker(folder)
    try:
        client = {"bootstrap.servers": bootstrap}
        create(client)
        filled = fill(client, megabytes, poison)
        be_grouped(client)
        tell(bootstrap, filled)
    finally:
        child.kill()


def secured(folder: Path, megabytes: float, poison: int) -> None:
    parts = Parts(folder, {"kafka", "s3"}, measured=True)
    try:
        parts.up()
        kafka = parts.running["kafka"]
        filled = fill(kafka.client_properties("producer"), megabytes, poison)
        be_grouped(kafka.client_properties("lakeward"))
        described, storage = kafka.describe(), parts.running["s3"].describe()
        owner = storage["users"]["lakeward"]
        reader = {
            "mechanism": described["mechanism"], "username": "lakeward", "ca": described["ca"],
            "password_file": described["users"]["lakeward"]["password_file"],
            "storage": {
                "endpoint": storage["tls_endpoint"], "region": storage["region"], "bucket": storage["bucket"], "ca": storage["ca"],
                **owner,
            },
        }  # fmt: skip
        tell(described["bootstrap"], filled, secured=reader)
    finally:
        parts.down()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--megabytes", type=float, default=250)
    parser.add_argument("--poison", type=int, default=0, help="of how many messages one is cut in the middle; 0: none")
    parser.add_argument("--secured", action="store_true", help="SASL_SSL, and an S3 server beside it")
    arguments = parser.parse_args()
    places.require()
    serve = secured if arguments.secured else plain
    serve(arguments.dir.resolve(), arguments.megabytes, arguments.poison)


if __name__ == "__main__":
    main()
