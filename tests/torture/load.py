"""What is sent: a function of the number of a record and nothing else, so that whoever checks makes it again by itself.

Three topics: `event` (appended; one in a hundred is poison of four kinds), `account` (the newest version counts, empty
messages delete), `entry` (in transactions, every third of which is aborted). The producer writes down which offset the
broker gave each record: that is the truth everything is compared with.
"""

import multiprocessing
from pathlib import Path

import polars as pl

EVENT, ACCOUNT, ENTRY = "torture.event", "torture.account", "torture.entry"
PARTITIONS = {EVENT: 6, ACCOUNT: 3, ENTRY: 3}
# How many of twenty records go to each topic.
SHARES = {EVENT: 16, ACCOUNT: 1, ENTRY: 3}
# A prime, so that an account gets every version.
ACCOUNTS = 3_989
# Records of one transaction.
TRANSACTION = 500
POISON = {0: "json.syntax", 1: "json.type", 2: "required:n", 3: "quality:not_negative"}


def event(number: int) -> bytes:
    cents, text = number * 7919 % 100_003, number % 977
    if number % 100 == 51:
        kind = number // 100 % 4
        if kind == 0:
            return b"no json %d" % number
        if kind == 1:
            return b'{"n":%d,"value":"v%d","text":"t%d"}' % (number, cents, text)
        if kind == 2:
            return b'{"value":%d,"text":"t%d"}' % (cents, text)
        return b'{"n":%d,"value":-1,"text":"t%d"}' % (number, text)
    return b'{"n":%d,"value":%d.25,"text":"t%d","undeclared":"%s"}' % (number, cents, text, b"x" * (number % 40))


def account_key(number: int) -> bytes:
    return b"a%d" % (number // 20 * 7_919 % ACCOUNTS)


def account(number: int) -> bytes | None:
    """Versions come in no order. Those of every second account end where an empty message stands, so that the last of them
    decides; the others' go beyond."""
    turn = number // 20
    if turn % 23 == 11:
        return None
    return b'{"version":%d,"name":"name %d"}' % (turn * 31 % 8 + turn * 7_919 % ACCOUNTS % 2 * 2, number)


def entry(number: int) -> bytes:
    return b'{"n":%d}' % number


def events() -> list[pl.Expr]:
    """From the column `number`: payload, and what stands in the curated table, or the reason of the dead letter."""
    n = pl.col("number")
    cents, text = n * 7919 % 100_003, n % 977
    written = [column.cast(pl.String) for column in (n, cents, text)]
    kind = pl.when(n % 100 == 51).then(n // 100 % 4).otherwise(-1)
    good = pl.concat_str(
        pl.lit('{"n":'), written[0], pl.lit(',"value":'), written[1], pl.lit('.25,"text":"t'), written[2],
        pl.lit('","undeclared":"'), pl.lit("x" * 40).str.slice(0, n % 40), pl.lit('"}'),
    )  # fmt: skip
    payload = (
        pl.when(kind == 0).then(pl.concat_str(pl.lit("no json "), written[0]))
        .when(kind == 1).then(pl.concat_str(pl.lit('{"n":'), written[0], pl.lit(',"value":"v'), written[1], pl.lit('","text":"t'), written[2], pl.lit('"}')))
        .when(kind == 2).then(pl.concat_str(pl.lit('{"value":'), written[1], pl.lit(',"text":"t'), written[2], pl.lit('"}')))
        .when(kind == 3).then(pl.concat_str(pl.lit('{"n":'), written[0], pl.lit(',"value":-1,"text":"t'), written[2], pl.lit('"}')))
        .otherwise(good)
    )  # fmt: skip
    return [
        payload.alias("payload"),
        kind.alias("kind"),
        (cents.cast(pl.Float64) + 0.25).alias("value"),
        pl.concat_str(pl.lit("T"), written[2]).alias("text"),
    ]


def accounts() -> list[pl.Expr]:
    n = pl.col("number")
    turn = n // 20
    version = turn * 31 % 8 + turn * 7_919 % ACCOUNTS % 2 * 2
    return [
        pl.when(turn % 23 != 11).then(pl.concat_str(pl.lit('{"version":'), version.cast(pl.String), pl.lit(',"name":"name '), n.cast(pl.String), pl.lit('"}'))).alias("payload"),
        pl.concat_str(pl.lit("a"), (turn * 7_919 % ACCOUNTS).cast(pl.String)).alias("account_id"),
        pl.when(turn % 23 != 11).then(version).alias("version"),
        pl.concat_str(pl.lit("name "), n.cast(pl.String)).alias("name"),
    ]  # fmt: skip


def entries() -> list[pl.Expr]:
    return [pl.concat_str(pl.lit('{"n":'), pl.col("number").cast(pl.String), pl.lit("}")).alias("payload")]


class Producer:
    """A process of its own that sends portions, and writes the offsets that the broker gave into `folder`."""

    def __init__(self, properties: dict[str, str], folder: Path):
        self.portions, self.counts = 0, {}
        self.here, there = multiprocessing.get_context("fork").Pipe()
        self.process = multiprocessing.get_context("fork").Process(target=_work, args=(there, properties, folder), daemon=True)
        self.process.start()

    def send(self, rows: int, partitions: dict[str, int]) -> None:
        """Asks for so many more records; `done` tells when they stand in Kafka."""
        self.here.send((rows, partitions))
        self.portions += 1

    def done(self) -> dict[str, int]:
        """Waits until all that was asked for stands in Kafka. Gives the records by topic, aborted ones apart."""
        while self.pending(300):
            pass
        return self.told()

    def told(self) -> dict[str, int]:
        """The same of what is known to stand there."""
        return dict(self.counts)

    def pending(self, seconds: float = 0) -> bool:
        """Whether a portion is under way; waits for the end of one."""
        if self.portions and seconds and not self.here.poll(seconds):
            raise RuntimeError("the producer is stuck")
        while self.here.poll(0):
            told = self.here.recv()
            if isinstance(told, str):
                raise RuntimeError(f"the producer failed: {told}")
            self.portions -= 1
            self.counts = told
        return self.portions > 0

    def stop(self) -> None:
        self.here.send(None)
        self.process.join(30)


class _Ledger:
    """Offsets in the order of the reports, which within a partition is the order of sending."""

    def __init__(self, folder: Path):
        self.folder, self.files, self.failure = folder, 0, None
        self.sent: dict[tuple[str, int], list[int]] = {}
        self.given: dict[tuple[str, int], list[int]] = {}

    def note(self, error, message) -> None:
        if error is not None:
            self.failure = str(error)
        else:
            self.given.setdefault((message.topic(), message.partition()), []).append(message.offset())

    def write(self, drop: bool = False) -> None:
        frames = []
        for (topic, partition), numbers in self.sent.items():
            offsets = self.given.get((topic, partition), [])
            if len(offsets) != len(numbers):
                self.failure = f"{len(offsets)} of {len(numbers)} records of {topic} were acknowledged"
                return
            frames.append(pl.DataFrame({"topic": topic, "partition": partition, "offset": offsets, "number": numbers}, schema={"topic": pl.String, "partition": pl.Int64, "offset": pl.Int64, "number": pl.Int64}))
        if frames and not drop:
            pl.concat(frames).write_parquet(self.folder / f"{self.files:05}.parquet")
            self.files += 1
        self.sent, self.given = {}, {}


def _work(pipe, properties: dict[str, str], folder: Path) -> None:
    from confluent_kafka import KafkaError, KafkaException
    from confluent_kafka import Producer as Client

    shared = {"linger.ms": 5, "compression.type": "lz4", "enable.idempotence": True, "queue.buffering.max.messages": 1_000_000, "topic.metadata.refresh.interval.ms": 1_000}
    plain = Client(properties | shared)
    transactional = Client(properties | shared | {"transactional.id": "lakeward-torture"})
    transactional.init_transactions(60)
    ledger, in_transaction = _Ledger(folder), _Ledger(folder)
    in_transaction.files = 50_000
    number, transactions, counts = 0, 0, {EVENT: 0, ACCOUNT: 0, ENTRY: 0, "aborted": 0}
    make = {EVENT: event, ACCOUNT: account}

    def send(client, book: _Ledger, topic: str, partition: int, number: int, key: bytes, payload: bytes | None) -> None:
        while True:
            try:
                client.produce(topic, key=key, value=payload, partition=partition, on_delivery=book.note)
                break
            except BufferError:
                client.poll(0.1)
            except KafkaException as error:
                # A partition that was just added.
                if error.args[0].code() != KafkaError._UNKNOWN_PARTITION:
                    raise
                client.poll(0.2)
        book.sent.setdefault((topic, partition), []).append(number)

    try:
        while (asked := pipe.recv()) is not None:
            rows, partitions = asked
            order = [topic for topic, share in SHARES.items() for _ in range(share)]
            waiting: list[int] = []
            for _ in range(rows):
                topic = order[number % len(order)]
                if topic == ENTRY:
                    waiting.append(number)
                else:
                    key = account_key(number) if topic == ACCOUNT else b"k%d" % (number % 5_000)
                    # The records of one key share a partition.
                    partition = int(key[1:]) % PARTITIONS[ACCOUNT] if topic == ACCOUNT else number // 20 % partitions[EVENT]
                    send(plain, ledger, topic, partition, number, key, make[topic](number))
                    counts[topic] += 1
                number += 1
                if number % 1_000 == 0:
                    plain.poll(0)
            for start in range(0, len(waiting), TRANSACTION):
                some = waiting[start : start + TRANSACTION]
                transactional.begin_transaction()
                for one in some:
                    send(transactional, in_transaction, ENTRY, one // 20 % PARTITIONS[ENTRY], one, b"k", entry(one))
                aborted = transactions % 3 == 2
                transactional.flush(60)
                if aborted:
                    transactional.abort_transaction(60)
                else:
                    transactional.commit_transaction(60)
                counts["aborted" if aborted else ENTRY] += len(some)
                in_transaction.write(drop=aborted)
                transactions += 1
            plain.flush(120)
            ledger.write()
            failure = ledger.failure or in_transaction.failure
            pipe.send(failure if failure else dict(counts))
    except Exception as error:  # What stops the producer is told to whoever waits for it.
        pipe.send(f"{type(error).__name__}: {error}")
