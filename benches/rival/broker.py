"""A plain-text broker on loopback with a topic full of Synthea's Observations, for both sides of the ingest pair.

Run it by `tests/parts/python.sh benches/rival/broker.py --dir DIR --megabytes 250`. It prints one JSON line (bootstrap,
topic, messages, bytes) when the topic is full, and ends when its standard input closes.
Synthea's five lives hold 9 MB of Observations: they are sent again and again under new ids, as other patients'.
"""

import argparse
import json
import sys
import uuid
from pathlib import Path

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from parts import places
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


def fill(bootstrap: str, megabytes: float) -> tuple[int, int]:
    """Sends at least so many megabytes of payload; the number of messages and bytes."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)])[TOPIC].result(30)
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 50, "batch.size": 1_000_000, "queue.buffering.max.kbytes": 1_000_000})
    originals = [
        (one["id"], json.dumps(one, separators=(",", ":"), ensure_ascii=False), sorted(identified(one))) for one in observations()
    ]
    messages = sent = life = 0
    while sent < megabytes * 1e6:
        for own_id, text, ids in originals:
            for old in ids if life else ():
                text = text.replace(old, str(uuid.uuid5(uuid.NAMESPACE_OID, f"{life}/{old}")))
            key = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{life}/{own_id}")) if life else own_id
            payload = text.encode()
            while True:
                try:
                    producer.produce(TOPIC, payload, key)
                    break
                except BufferError:
                    producer.poll(0.1)
            messages += 1
            sent += len(payload)
            if sent >= megabytes * 1e6:
                break
        producer.poll(0)
        life += 1
    producer.flush()
    return messages, sent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--megabytes", type=float, default=250)
    arguments = parser.parse_args()
    places.require()
    child, bootstrap = plaintext_broker(arguments.dir.resolve())
    try:
        messages, sent = fill(bootstrap, arguments.megabytes)
        print(json.dumps({"bootstrap": bootstrap, "topic": TOPIC, "partitions": PARTITIONS, "messages": messages, "bytes": sent}), flush=True)
        sys.stdin.read()
    finally:
        child.kill()


if __name__ == "__main__":
    main()
