"""`python -m torture.situations NAME --run run.json`: one hard situation each, made on purpose against the real broker.

Each compares the positions that stand in raw, curated and dead-letter tables with those that the broker acknowledged.
"""

import argparse
import json
import shutil
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from clients import verdict
from clients.lake import Lake
from confluent_kafka import ConsumerGroupState as State
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import NewPartitions

from . import load
from .process import Lakeward, administer, allow, client, create, delete, until
from .proxy import Gate, Proxy

EVENT, ACCOUNT, ENTRY = "situation.event", "situation.account", "situation.entry"
SOURCE = "clinic-main"
SESSION = 2.0
PATIENCE = 90.0
LOST = 'lakeward_ingest_lost_offsets{topic="situation.event"}'


class Situation:
    """A group, a folder in S3 and topics of its own."""

    def __init__(self, name: str, options: argparse.Namespace):
        self.options, self.name = options, name
        self.run = json.loads(options.run.read_text())
        self.parts = self.run["parts"]
        self.folder = options.run.parent / f"situation-{name}"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.lakehouse = self._lakehouse()
        self.admin = administer(self.parts)
        allow(self.admin, "situation.")
        self.partitions = {EVENT: 2, ACCOUNT: 1, ENTRY: 1}
        create(self.admin, self.partitions)
        self.url = f"{self.run['storage_url'].rsplit('/', 1)[0]}/situation-{name}-{time.time_ns()}"
        self.lake = Lake(self.run | {"storage_url": self.url})
        self.plain = self.producer()
        self.acked: dict[str, set[tuple[int, int]]] = {topic: set() for topic in self.partitions}
        self.number = 0
        self.processes: list[Lakeward] = []
        self.proxy: Proxy | None = None
        self.differences: list[str] = []

    def _lakehouse(self) -> Path:
        """The lakehouse of the torture under other names, so that both can be played beside each other."""
        target = self.folder / "lakehouse"
        for file in (Path(__file__).parent / "lakehouse").rglob("*"):
            if file.is_file():
                copy = target / str(file.relative_to(Path(__file__).parent / "lakehouse")).replace("torture", "situation")
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_text(file.read_text().replace("torture", "situation"))
        return target

    # ---- Sending -----------------------------------------------------------------------------------------------------

    def producer(self, more: dict | None = None) -> Producer:
        settings = {"enable.idempotence": True, "topic.metadata.refresh.interval.ms": 500, "linger.ms": 5}
        return Producer(client(self.parts, "producer") | settings | (more or {}))

    def send(self, topic: str, partition: int, count: int, client: Producer | None = None, counts: bool = True) -> None:
        """Good records to one partition; they count as sent when the broker has acknowledged them."""
        producer, failures = client or self.plain, []

        def note(error: object, message: object) -> None:
            if error:
                failures.append(str(error))
            elif counts:
                self.acked[topic].add((message.partition(), message.offset()))

        for _ in range(count):
            self.number += 100
            payload = load.account(self.number) if topic == ACCOUNT else load.event(self.number)
            producer.produce(topic, key=b"k%d" % self.number, value=payload, partition=partition, on_delivery=note)
        if producer.flush(60) or failures:
            raise RuntimeError(f"{topic}: not sent: {failures[:3]}")

    # ---- Lakeward ----------------------------------------------------------------------------------------------------

    def lakeward(self, name: str = "one", **settings: str) -> Lakeward:
        """A started process; `settings` by the names of the environment without LAKEWARD_."""
        given = {
            "LAKEHOUSE_DIRECTORY": str(self.lakehouse),
            "STORAGE_URL": self.url,
            "KAFKA_GROUP": f"lakeward-{self.name}",
            "KAFKA_SESSION_TIMEOUT": f"{SESSION * 1000:.0f}ms",
            "INGEST_COMMIT_INTERVAL": "200ms",
            "INGEST_FRESHNESS_OBJECTIVE": "2s",
        } | settings
        process = Lakeward(self.options.binary, self.folder, name, {f"LAKEWARD_{key}": value for key, value in given.items()})
        process.start(Path(self.run["config"]))
        self.processes.append(process)
        return process

    def end(self, process: Lakeward) -> None:
        process.signal(signal.SIGTERM)
        if (status := process.ended(60)) != 0:
            self.differ(f"{process.log.name} ended with {status} after SIGTERM")

    def ask(self, process: Lakeward, path: str) -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{process.port}{path}", timeout=10) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.read().decode()
        except OSError:
            return ""

    def metric(self, process: Lakeward, name: str) -> float | None:
        values = [float(line.rsplit(" ", 1)[1]) for line in self.ask(process, "/metrics").splitlines() if line.startswith(name)]
        return sum(values) if values else None

    def until_said(self, process: Lakeward, *words: str) -> None:
        """`/health/ready` says so."""
        until(f"/health/ready says {words}: {self.ask(process, '/health/ready')}", PATIENCE, lambda: all(word in self.ask(process, "/health/ready") for word in words))

    # ---- Comparing ---------------------------------------------------------------------------------------------------

    def differ(self, sentence: str) -> None:
        self.differences.append(f"{self.name}: {sentence}")

    def positions(self, name: str, column: str = "offset") -> list[tuple[int, int]]:
        try:
            table = self.lake.read(name, ["partition", column]) if name.startswith("raw.") else self.lake.read(name)
        except Exception as error:
            if type(error).__name__ != "TableNotFoundError":
                raise
            return []
        return list(zip(table["partition"].to_pylist(), table[column].to_pylist(), strict=True))

    def landed(self, topic: str) -> Callable[[], bool]:
        """Whether everything that was sent is in the raw and the curated table."""
        curated = {EVENT: "events", ENTRY: "entries"}.get(topic)
        raw = f"raw.{topic.replace('.', '_')}"

        def holds() -> bool:
            time.sleep(0.3)
            done = len(self.positions(raw)) >= len(self.acked[topic])
            return done and (curated is None or len(self.positions(f"curated.{curated}", "position")) >= len(self.acked[topic]))

        return holds

    def until_landed(self, *topics: str) -> None:
        for topic in topics:
            until(f"all of {topic} has landed", PATIENCE, self.landed(topic))

    def compare(self, *topics: str) -> None:
        for topic in topics:
            curated = {EVENT: "events", ENTRY: "entries"}.get(topic)
            tables = [(f"raw.{topic.replace('.', '_')}", "offset")] + ([(f"curated.{curated}", "position")] if curated else [])
            for name, column in tables:
                found = self.positions(name, column)
                lost, foreign = self.acked[topic] - set(found), set(found) - self.acked[topic]
                if len(set(found)) != len(found) or lost or foreign:
                    self.differ(f"{name}: {len(lost)} lost, {len(found) - len(set(found))} doubled, {len(foreign)} nobody sent")

    def gate(self) -> tuple[Gate, Proxy]:
        """A proxy between one process and its storage."""
        place = self.parts["kafka"]["proxied"][0]
        gate = Gate(0, int(self.parts["s3"]["endpoint"].rsplit(":", 1)[1]), place["listens"], place["proxy"])
        self.proxy = Proxy([gate])
        return gate, self.proxy

    def close(self) -> None:
        for process in self.processes:
            process.signal(signal.SIGCONT)
            process.kill()
        if self.proxy:
            self.proxy.close()


def zombie(play: Situation) -> None:
    """One is frozen with events in its hands, others take its partitions, and it wakes up and wants to commit."""
    first = play.lakeward("first", INGEST_COMMIT_INTERVAL="1500ms")
    play.send(EVENT, 0, 500)
    play.send(EVENT, 1, 500)
    play.until_landed(EVENT)
    play.send(EVENT, 0, 300)
    play.send(EVENT, 1, 300)
    # Read and not committed.
    until("events are held", PATIENCE, lambda: play.metric(first, "lakeward_ingest_held_bytes"))
    first.signal(signal.SIGSTOP)
    second = play.lakeward("second")
    play.send(EVENT, 0, 400)
    play.until_landed(EVENT)
    first.signal(signal.SIGCONT)
    until("the zombie's commit was refused", PATIENCE, lambda: play.metric(first, "lakeward_ingest_conflicts_total"))
    play.send(EVENT, 0, 200)
    play.send(EVENT, 1, 200)
    play.until_landed(EVENT)
    play.end(first)
    play.end(second)
    play.compare(EVENT)


def ambiguous(play: Situation) -> None:
    """Commits land and their answers are lost, one after the other."""
    gate, proxy = play.gate()
    one = play.lakeward(STORAGE_ENDPOINT=f"http://127.0.0.1:{gate.s3_port}")
    play.send(EVENT, 0, 100)
    play.until_landed(EVENT)
    for _ in range(6):
        proxy.do(lambda: setattr(gate, "swallow", 1))
        play.send(EVENT, 0, 50)
        until("the answer of a commit is lost", PATIENCE, lambda: gate.swallow == 0)
    play.until_landed(EVENT)
    play.end(one)
    play.compare(EVENT)
    if gate.counted["answer of a commit dropped"] != 6:
        play.differ(f"answers dropped: {dict(gate.counted)}")


def pressed(play: Situation) -> None:
    """A rebalance comes while partitions are paused because memory is short: those that stay are read on afterwards."""
    gate, proxy = play.gate()
    for future in play.admin.create_partitions([NewPartitions(EVENT, 6)]).values():
        future.result(30)
    until("the producer knows them", PATIENCE, lambda: len(play.plain.list_topics(EVENT, 10).topics[EVENT].partitions) == 6)
    first = play.lakeward("first", STORAGE_ENDPOINT=f"http://127.0.0.1:{gate.s3_port}", INGEST_MEMORY_BUDGET="5MB")
    for partition in range(6):
        play.send(EVENT, partition, 50)
    play.until_landed(EVENT)
    # Each request takes seconds now, and what comes is more than may be held.
    proxy.do(lambda: gate.delay.update(s3=(time.monotonic() + 3600, 2.0)))
    for partition in range(6):
        play.send(EVENT, partition, 10_000)
    until("partitions are paused", PATIENCE, lambda: play.metric(first, "lakeward_ingest_paused") == 1)
    second = play.lakeward("second")
    # The first gives some away, and waits for what it holds of them; then the storage is quick again.
    group = f"lakeward-{play.name}"
    state = lambda: play.admin.describe_consumer_groups([group])[group].result(10)
    until("the group rebalances", PATIENCE, lambda: len(state().members) == 2 and state().state != State.STABLE)
    proxy.do(lambda: gate.delay.update(s3=(0.0, 0.0)))
    play.until_landed(EVENT)
    play.end(first)
    play.end(second)
    play.compare(EVENT)


def growth(play: Situation) -> None:
    """Partitions are added, and what is in them before anybody knows of them is not missed."""
    one, two = play.lakeward("first"), play.lakeward("second")
    play.send(EVENT, 0, 300)
    play.until_landed(EVENT)
    for future in play.admin.create_partitions([NewPartitions(EVENT, 4)]).values():
        future.result(30)
    until("the producer knows them", PATIENCE, lambda: len(play.plain.list_topics(EVENT, 10).topics[EVENT].partitions) == 4)
    for partition in (2, 3, 0):
        play.send(EVENT, partition, 300)
    play.until_landed(EVENT)
    play.end(one)
    play.end(two)
    play.compare(EVENT)


def recreated(play: Situation) -> None:
    """The topic is deleted and made again with more events than the old one had: nothing of it is mixed with the old."""
    one = play.lakeward()
    play.send(EVENT, 0, 200)
    play.until_landed(EVENT)
    delete(play.admin, [EVENT])
    create(play.admin, {EVENT: 2})
    stranger = play.producer()
    play.send(EVENT, 0, 500, stranger, counts=False)
    play.until_said(one, "made anew", EVENT)
    # Other topics go on.
    play.send(ENTRY, 0, 100)
    play.until_landed(ENTRY)
    play.end(one)
    again = play.lakeward("again")
    play.until_said(again, "made anew", EVENT)
    play.send(ENTRY, 0, 100)
    play.until_landed(ENTRY)
    play.end(again)
    play.compare(EVENT, ENTRY)
    # Under a new name of the source it is read whole, beside the old one.
    renamed = play.lakeward("renamed", KAFKA_SOURCE="clinic-new")
    until("the new topic is read", PATIENCE, lambda: len(play.positions("raw.situation_event")) == 700)
    play.end(renamed)


def gap(play: Situation) -> None:
    """Events are gone before they were read: reading stops, or goes on behind a recorded gap."""
    first = play.lakeward("first")
    play.send(EVENT, 0, 300)
    play.send(EVENT, 1, 300)
    play.until_landed(EVENT)
    play.end(first)
    play.send(EVENT, 0, 500)
    gone = play.admin.delete_records([TopicPartition(EVENT, 0, 700)])
    for future in gone.values():
        future.result(30)
    play.acked[EVENT] -= {(0, offset) for offset in range(300, 700)}

    stopped = play.lakeward("stopped")
    play.until_said(stopped, "400 offsets", EVENT, "300 to 699", "on_gap")
    play.send(EVENT, 1, 100)
    until("the other partition is read on", PATIENCE, lambda: time.sleep(0.3) or len(play.positions("raw.situation_event")) == 700)
    if [place for place in play.positions("raw.situation_event") if place[0] == 0 and place[1] >= 300]:
        play.differ("events behind the gap were read although on_gap is stop")
    play.end(stopped)

    passed = play.lakeward("passed", INGEST_ON_GAP="go-on")
    play.until_landed(EVENT)
    until("the gap is a metric", PATIENCE, lambda: play.metric(passed, LOST) == 400)
    if "recorded as a gap" not in passed.text():
        play.differ("the log does not name the gap")
    play.end(passed)

    again = play.lakeward("again")
    play.send(EVENT, 0, 50)
    play.until_landed(EVENT)
    until("the gap is still a metric", PATIENCE, lambda: play.metric(again, LOST) == 400)
    # The next one comes while a process has its session and is frozen; then it dies.
    again.signal(signal.SIGSTOP)
    play.send(EVENT, 0, 100)
    for future in play.admin.delete_records([TopicPartition(EVENT, 0, 940)]).values():
        future.result(30)
    again.kill()
    last = play.lakeward("last", INGEST_ON_GAP="go-on")
    play.acked[EVENT] -= {(0, offset) for offset in range(850, 940)}
    play.until_landed(EVENT)
    until("both gaps are in the metric", PATIENCE, lambda: play.metric(last, LOST) == 490)
    play.end(last)
    play.compare(EVENT)


def transactional(play: Situation) -> None:
    """Aborted records and control records leave holes, also at the end and over restarts; aborted ones are nowhere."""
    one = play.lakeward()
    producer = play.producer({"transactional.id": "lakeward-situation"})
    producer.init_transactions(60)
    for number in range(9):
        aborted = number % 3 != 0
        producer.begin_transaction()
        play.send(ENTRY, 0, 40, producer, counts=not aborted)
        (producer.abort_transaction if aborted else producer.commit_transaction)(60)
        if number in (3, 5):
            play.until_landed(ENTRY)
            play.end(one) if number == 3 else one.kill()
            one = play.lakeward(f"after-{number}")
    producer.begin_transaction()
    play.send(ENTRY, 0, 40, producer)
    # Not committed: nobody may see it yet.
    time.sleep(1)
    if len(play.positions("raw.situation_entry")) > len(play.acked[ENTRY]) - 40:
        play.differ("records of an open transaction were read")
    producer.commit_transaction(60)
    producer.begin_transaction()
    play.send(ENTRY, 0, 40, producer, counts=False)
    producer.abort_transaction(60)
    play.until_landed(ENTRY)
    # What no reader may see is no lag.
    until("nothing lags", PATIENCE, lambda: play.metric(one, "lakeward_ingest_lag") == 0)
    play.end(one)
    play.compare(ENTRY)


def compacted(play: Situation) -> None:
    """Most of a topic is compacted away before it is read; what is left is read once, over a kill."""
    delete(play.admin, [ACCOUNT])
    config = {"cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.01", "delete.retention.ms": "100", "max.compaction.lag.ms": "200"}
    create(play.admin, {ACCOUNT: 1}, config)
    fresh = play.producer()

    def write(rounds: int) -> None:
        for _ in range(rounds):
            for number in range(100):
                play.number += 1
                fresh.produce(ACCOUNT, key=b"a%d" % number, value=b'{"version":%d,"name":"n"}' % (play.number % 7), partition=0)
            fresh.flush(30)
            time.sleep(0.15)

    def left() -> set[tuple[int, int]]:
        """What another consumer finds in the topic."""
        consumer = Consumer(client(play.parts, "admin") | {"group.id": "reader", "enable.partition.eof": True, "auto.offset.reset": "earliest"})
        consumer.assign([TopicPartition(ACCOUNT, 0, 0)])
        found = set()
        while True:
            message = consumer.poll(10)
            if message is None or (message.error() and message.error().code() == KafkaError._PARTITION_EOF):
                consumer.close()
                return found
            found.add((0, message.offset()))

    write(10)
    until("it is compacted", PATIENCE, lambda: write(1) or len(left()) < play.number // 2)
    one = play.lakeward()
    raw = "raw.situation_account"
    until("it is read to its end", PATIENCE, lambda: time.sleep(0.3) or (max(play.positions(raw), default=(0, -1)) >= max(left())))
    one.kill()
    write(5)
    two = play.lakeward("two")
    until("it is read to its end again", PATIENCE, lambda: time.sleep(0.3) or (max(play.positions(raw), default=(0, -1)) >= max(left())))
    until("accounts are the newest", PATIENCE, lambda: time.sleep(0.3) or len(play.positions("curated.accounts", "position")) == 100)
    play.end(two)
    found = play.positions(raw)
    if len(found) != len(set(found)):
        play.differ(f"{len(found) - len(set(found))} records stand twice")
    if missing := left() - set(found):
        play.differ(f"{len(missing)} records that the topic still has are missing")
    if len(found) >= play.number:
        play.differ("nothing was compacted before it was read: the situation did not come about")


SITUATIONS = {one.__name__: one for one in (zombie, ambiguous, pressed, growth, recreated, gap, transactional, compacted)}


def play(program: str, words: str | None, situations: dict[str, Callable[[Situation], None]]) -> None:
    """Plays the one that is named on the command line, or all."""
    parser = argparse.ArgumentParser(prog=program, description=words)
    parser.add_argument("name", choices=[*situations, "all"])
    parser.add_argument("--run", type=Path, required=True, help="run.json of `python -m parts config`")
    parser.add_argument("--binary", type=Path, required=True, help="the built `lakeward`")
    parser.add_argument("--silence", type=float, default=15, help="seconds for which a broker is silent")
    options = parser.parse_args()
    differences = []
    for name in situations if options.name == "all" else [options.name]:
        began = time.monotonic()
        situation = Situation(name, options)
        try:
            situations[name](situation)
        except (TimeoutError, RuntimeError) as error:
            situation.differ(str(error))
        finally:
            situation.close()
        differences += situation.differences
        print(f"{name}: {time.monotonic() - began:.0f} s, {'as it should be' if not situation.differences else 'NOT as it should be'}", flush=True)
    verdict.give(differences)


def main() -> None:
    play("torture.situations", __doc__, SITUATIONS)


if __name__ == "__main__":
    sys.exit(main())
