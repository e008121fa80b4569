"""`python -m torture --run run.json`: kills ingest again and again, and counts afterwards.

Up to three `lakeward serve --only ingest` in one consumer group read three topics through a fault proxy each, while they
are killed with SIGKILL at random and at chosen points, frozen and thawed, started and ended, and their connections to
Kafka and S3 are cut, delayed, slowed and robbed of answers. Exit status 0 only if nothing is lost and nothing doubled.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from clients import verdict
from clients.lake import Lake
from confluent_kafka import ConsumerGroupState as State
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import NewPartitions
from parts.__main__ import Parts
from parts.config import write

from . import load, oracle
from .process import Lakeward, administer, allow, client, create, until
from .proxy import Gate, Proxy, Trap

KINDS = ("random", "decoding", "uploading", "between", "lost answer", "rebalance")
GROUP = "lakeward-torture"
SESSION = 2.0
SETTINGS = {
    "LAKEWARD_KAFKA_GROUP": GROUP,
    "LAKEWARD_KAFKA_SESSION_TIMEOUT": f"{SESSION * 1000:.0f}ms",
    "LAKEWARD_INGEST_COMMIT_INTERVAL": "1s",
    "LAKEWARD_INGEST_COMMIT_BYTES": "4MB",
    "LAKEWARD_INGEST_MEMORY_BUDGET": "128MB",
    "LAKEWARD_LOG_LEVEL": "info",
}
# How long a trap waits for a victim before it is set again, and how often that is done.
TRAP, ATTEMPTS = 20.0, 8

# What a broker answers that has just come up, or has the group no more.
UNKNOWN_YET = (
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
)


class Torture:
    def __init__(self, options: argparse.Namespace):
        self.options = options
        self.run = json.loads(options.run.read_text())
        self.parts = self.run["parts"]
        self.folder = options.run.parent / "torture"
        self.ledger = self.folder / "ledger"
        self.ledger.mkdir(parents=True, exist_ok=True)
        for old in self.ledger.glob("*.parquet"):
            old.unlink()
        self.dice = random.Random(options.seed)
        self.kills: Counter[str] = Counter()
        self.tables: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.missed: Counter[str] = Counter()
        self.partitions = dict(load.PARTITIONS)
        # Forked before there are threads.
        self.producer = load.Producer(client(self.parts, "producer"), self.ledger)
        self.admin = administer(self.parts)
        self.quiet = threading.Event()

    # ---- The stage ---------------------------------------------------------------------------------------------------

    def set_up(self) -> None:
        allow(self.admin, "torture.")
        create(self.admin, load.PARTITIONS)
        s3 = int(self.parts["s3"]["endpoint"].rsplit(":", 1)[1])
        self.gates = [Gate(number, s3, one["listens"], one["proxy"]) for number, one in enumerate(self.parts["kafka"]["proxied"])]
        self.proxy = Proxy(self.gates)
        self.url = f"{self.run['storage_url'].rsplit('/', 1)[0]}/torture-{os.getpid()}"
        self.slots = []
        for gate in self.gates:
            settings = SETTINGS | {
                "LAKEWARD_LAKEHOUSE_DIRECTORY": str(Path(__file__).parent / "lakehouse"),
                "LAKEWARD_STORAGE_URL": self.url,
                "LAKEWARD_STORAGE_ENDPOINT": f"http://127.0.0.1:{gate.s3_port}",
                "LAKEWARD_KAFKA_BROKERS": f"127.0.0.1:{gate.kafka_port}",
            }
            name = f"lakeward-{gate.number}"
            (self.folder / f"{name}.log").unlink(missing_ok=True)
            begun = lambda pid, gate=gate: self.proxy.do(gate.begun, pid)
            self.slots.append(Lakeward(self.options.binary, self.folder, name, settings, begun))
        self.lake = Lake(self.run | {"storage_url": self.url})

    def start(self, slot: Lakeward) -> None:
        slot.start(Path(self.run["config"]))

    def alive(self) -> list[Lakeward]:
        return [slot for slot in self.slots if slot.alive()]

    def refill(self) -> None:
        """One to three processes stand, more of them than not."""
        wanted = self.dice.choice((1, 2, 2, 3, 3, 3))
        for slot in self.dice.sample(self.slots, len(self.slots)):
            if len(self.alive()) < wanted and not slot.alive():
                self.start(slot)

    # ---- Faults ------------------------------------------------------------------------------------------------------

    def disturb(self, seed: int) -> None:
        """One fault after the other, until it is quiet."""
        dice = random.Random(seed)
        while not self.quiet.wait(dice.uniform(0.5, 3.0)):
            gate, part = dice.choice(self.gates), dice.choice(("s3", "kafka"))
            fault = dice.choice(("cut", "cut", "delay", "slow", "answer", "freeze"))
            if fault == "cut":
                self.proxy.do(gate.cut, part)
                self.faults[f"{part} cut"] += 1
            elif fault == "delay":
                gate.delay[part] = (time.monotonic() + dice.uniform(0.5, 3), dice.uniform(0.05, 1.0))
                self.faults[f"{part} delayed"] += 1
            elif fault == "slow":
                gate.rate[part] = (time.monotonic() + dice.uniform(0.5, 3), dice.uniform(50_000, 500_000))
                self.faults[f"{part} slowed"] += 1
            elif fault == "answer":
                gate.swallow = 1
            elif fault == "freeze" and dice.random() < 0.3:
                # Longer than its session: others take its partitions, and it comes back as a zombie.
                slot = self.slots[gate.number]
                pid = slot.child.pid if slot.alive() else 0
                if pid:
                    slot.signal(signal.SIGSTOP)
                    self.quiet.wait(dice.uniform(SESSION * 1.5, SESSION * 2.5))
                    # It may have been killed meanwhile, and another stand in its place.
                    if slot.child.pid == pid:
                        slot.signal(signal.SIGCONT)
                    self.faults["frozen beyond its session"] += 1

    # ---- Kills -------------------------------------------------------------------------------------------------------

    def kill(self, kind: str) -> bool:
        """Kills one process at the wanted point; false when nobody came to it in time."""
        if kind == "random":
            self.quiet.wait(self.dice.uniform(0.1, 2.5))
            victims = self.alive()
            if not victims:
                return False
            self.dice.choice(victims).kill()
            return True
        if kind == "rebalance":
            return self.kill_in_rebalance()
        skip = self.dice.randrange(40) if kind == "decoding" else self.dice.randrange(6)
        trap = Trap(kind, skip, half=self.dice.random() < 0.5)
        self.proxy.arm(trap)
        sprung = trap.done.wait(TRAP)
        self.proxy.arm(None)
        # It may have sprung in between.
        if not sprung and not trap.done.is_set():
            return False
        self.slots[trap.victim.number].ended()
        if trap.table:
            self.tables[trap.table] += 1
        return True

    def kill_in_rebalance(self) -> bool:
        """One joins or leaves, and another dies while the group has not settled."""
        idle = [slot for slot in self.slots if not slot.alive()]
        alive = self.alive()
        if idle and (len(alive) < 2 or self.dice.random() < 0.7):
            cause = idle[0]
            self.start(cause)
        elif len(alive) > 1:
            cause = self.dice.choice(alive)
            cause.signal(signal.SIGTERM)
        else:
            return False
        victims = [slot for slot in alive if slot is not cause]
        pause = self.dice.uniform(0, 0.3)
        deadline = time.monotonic() + TRAP
        while time.monotonic() < deadline:
            if self.rebalances():
                time.sleep(pause)
                victims = [slot for slot in victims if slot.alive()]
                if victims and self.rebalances():
                    self.dice.choice(victims).kill()
                    return True
                pause /= 2
            time.sleep(0.005)
        return False

    def rebalances(self) -> bool:
        told = self.admin.describe_consumer_groups([GROUP], request_timeout=10)
        try:
            return told[GROUP].result(15).state in (State.PREPARING_REBALANCING, State.COMPLETING_REBALANCING)
        except KafkaException as error:
            if error.args[0].code() not in UNKNOWN_YET:
                raise
            return False

    # ---- The play ----------------------------------------------------------------------------------------------------

    def play(self) -> None:
        kinds = [KINDS[number % len(KINDS)] for number in range(self.options.kills)]
        self.dice.shuffle(kinds)
        portion = self.options.rows // (len(kinds) + 2)
        self.producer.send(portion, self.partitions)
        self.refill()
        disturber = threading.Thread(target=self.disturb, args=(self.dice.getrandbits(32),), daemon=True)
        disturber.start()
        for number, kind in enumerate(kinds):
            if number == len(kinds) // 2:
                self.grow()
            self.send(portion)
            for attempt in range(ATTEMPTS):
                self.refill()
                if self.kill(kind):
                    self.kills[kind] += 1
                    break
                self.missed[kind] += 1
                self.send(portion // 4)
            else:
                print(f"no process came to `{kind}` in {ATTEMPTS} attempts", flush=True)
            if (number + 1) % 10 == 0:
                print(f"{number + 1} kills after {time.monotonic() - self.begun:.0f} s: {dict(self.kills)}", flush=True)
        self.before_the_last = sum(self.producer.told().values())
        self.quiet.set()
        disturber.join(60)

    def send(self, rows: int) -> None:
        """The next portion; no more than one is under way, so that the broker is never far ahead."""
        if not self.producer.pending():
            self.producer.send(max(rows, 1), self.partitions)

    def grow(self) -> None:
        """The topic gets two partitions more, in the middle of it all."""
        self.partitions[load.EVENT] += 2
        for future in self.admin.create_partitions([NewPartitions(load.EVENT, self.partitions[load.EVENT])]).values():
            future.result(30)
        self.faults["partitions added"] += 2

    def finish(self) -> dict[str, int]:
        """All processes run undisturbed until the tables stand behind the last record."""
        self.proxy.arm(None)
        for gate in self.gates:
            self.faults.update(gate.counted)
        counts = self.producer.done()
        rest = self.options.rows - sum(counts.values())
        if rest > 0:
            self.producer.send(rest, self.partitions)
            counts = self.producer.done()
        self.producer.stop()
        for slot in self.slots:
            slot.signal(signal.SIGCONT)
            if not slot.alive():
                self.start(slot)
        last = oracle.last(self.ledger)
        source = "clinic-main"
        lags: list[str] = []

        def caught_up() -> bool:
            nonlocal lags
            time.sleep(1)
            lags = oracle.behind(self.lake, source, last)
            return not lags

        try:
            until("the tables stand behind the last record", self.options.patience, caught_up)
        except TimeoutError as error:
            print(f"{error}: {'; '.join(lags[:10])}", flush=True)
        for slot in self.slots:
            slot.signal(signal.SIGTERM)
        for slot in self.slots:
            if (status := slot.ended(60)) != 0:
                print(f"{slot.log.name}: ended with {status} after SIGTERM", flush=True)
        return counts

    def main(self) -> None:
        self.begun = time.monotonic()
        print(f"seed {self.options.seed}; {self.options.kills} kills, {self.options.rows} rows", flush=True)
        self.set_up()
        try:
            self.play()
            counts = self.finish()
        finally:
            for slot in self.slots:
                slot.kill()
        played = time.monotonic() - self.begun
        findings = oracle.judge(self.lake, self.ledger)
        total = time.monotonic() - self.begun
        print(f"kills    {sum(self.kills.values())} in {played:.0f} s: " + ", ".join(f"{kind} {self.kills[kind]}" for kind in KINDS))
        print(f"         aimed at {dict(sorted(self.tables.items()))}; traps nobody came to {dict(self.missed)}")
        print(f"faults   {sum(self.faults.values())}: " + ", ".join(f"{fault} {count}" for fault, count in sorted(self.faults.items())))
        print("sent     " + ", ".join(f"{topic} {count}" for topic, count in counts.items()) + f"; {self.before_the_last} of them before the last kill")
        print("rows     " + ", ".join(f"{table} {count}" for table, count in findings.rows.items()))
        print(f"lost     {findings.lost}")
        print(f"doubled  {findings.doubled}")
        print(f"wrong    {findings.wrong}")
        print(f"         seed {self.options.seed}, {total:.0f} s with the comparison")
        differences = list(findings.words)
        wanted = Counter(KINDS[number % len(KINDS)] for number in range(self.options.kills))
        differences += [f"{self.kills[kind]} of {count} kills at `{kind}`" for kind, count in wanted.items() if self.kills[kind] < count]
        verdict.give(differences)


def main() -> None:
    parser = argparse.ArgumentParser(prog="torture", description=__doc__)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--run", type=Path, help="run.json of `python -m parts config`, for parts that run")
    where.add_argument("--dir", type=Path, help="a folder in which the parts are started for this alone")
    parser.add_argument("--binary", type=Path, required=True, help="the built `lakeward`")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--seed", type=int, default=None, help="of all chance; drawn and printed without")
    parser.add_argument("--patience", type=float, default=900, help="seconds that the tables may take to catch up at the end")
    options = parser.parse_args()
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1 << 31)
    options.binary = options.binary.resolve()
    if options.run:
        Torture(options).main()
    shutil.rmtree(options.dir, ignore_errors=True)
    options.dir.mkdir(parents=True)
    parts = Parts(options.dir.resolve() / "parts", {"kafka", "s3", "issuer"})
    try:
        parts.up()
        description = json.loads((parts.folder / "parts.json").read_text())
        write(description, options.dir.resolve(), Path(__file__).parent / "lakehouse")
        options.run = options.dir.resolve() / "run.json"
        Torture(options).main()
    finally:
        parts.down()


if __name__ == "__main__":
    sys.exit(main())
