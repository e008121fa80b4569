"""`lakeward serve --only ingest` as child processes, each behind a gate of its own, and the topics they read."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from confluent_kafka.admin import (
    AclBinding, AclOperation, AclPermissionType, AdminClient, NewTopic, ResourcePatternType, ResourceType,
)  # fmt: skip
from parts.processes import _die_with_parent, free_ports

LOOPBACK = "127.0.0.1"


def until(what: str, seconds: float, holds: Callable[[], object]) -> None:
    """Returns as soon as it holds; what takes too long is a failure."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {seconds:.0f} s still not: {what}")
        time.sleep(0.05)


def client(parts: dict, user: str) -> dict[str, str]:
    """librdkafka's properties of a user."""
    kafka = parts["kafka"]
    account = kafka["users"][user]
    return {
        "bootstrap.servers": kafka["bootstrap"],
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": kafka["mechanism"],
        "sasl.username": account["name"],
        "sasl.password": Path(account["password_file"]).read_text().strip(),
        "ssl.ca.location": kafka["ca"],
    }


def administer(parts: dict) -> AdminClient:
    return AdminClient(client(parts, "admin"))


def allow(admin: AdminClient, prefix: str) -> None:
    """What `lakeward` and `producer` may do with topics of this prefix."""

    def may(user: str, operation: AclOperation) -> AclBinding:
        return AclBinding(ResourceType.TOPIC, prefix, ResourcePatternType.PREFIXED, f"User:{user}", "*", operation, AclPermissionType.ALLOW)

    rules = [may("lakeward", AclOperation.READ), may("lakeward", AclOperation.DESCRIBE), may("producer", AclOperation.WRITE), may("producer", AclOperation.DESCRIBE)]
    for future in admin.create_acls(rules).values():
        future.result(30)


def create(admin: AdminClient, partitions: dict[str, int], config: dict[str, str] | None = None) -> None:
    """Makes topics, those of an earlier run anew, and returns when they are there."""
    present = [topic for topic in partitions if topic in admin.list_topics(timeout=30).topics]
    if present:
        delete(admin, present)
    made = admin.create_topics([NewTopic(topic, count, 1, config=config or {}) for topic, count in partitions.items()])
    for future in made.values():
        future.result(30)


def delete(admin: AdminClient, topics: list[str]) -> None:
    for future in admin.delete_topics(topics, operation_timeout=30).values():
        future.result(30)
    until("the topics are gone", 60, lambda: not set(topics) & set(admin.list_topics(timeout=30).topics))


class Lakeward:
    """One process at a time, which may be killed and begun again."""

    def __init__(self, binary: Path, folder: Path, name: str, settings: dict[str, str], begun: Callable[[int], None] = lambda pid: None):
        self.binary, self.log, self.begun = binary, folder / f"{name}.log", begun
        self.port = free_ports(1)[0]
        self.settings = settings | {"LAKEWARD_HTTP_LISTEN": f"{LOOPBACK}:{self.port}"}
        self.child: subprocess.Popen | None = None

    def start(self, config: Path) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LAKEWARD_")}
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(
                [self.binary, "serve", "--only", "ingest", "--config", config],
                env=environment | self.settings, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=_die_with_parent,
            )  # fmt: skip
        self.begun(self.child.pid)

    def alive(self) -> bool:
        """Also takes note of an end."""
        return self.child is not None and self.child.poll() is None

    def signal(self, number: signal.Signals) -> None:
        if self.alive():
            self.child.send_signal(number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.ended()

    def ended(self, seconds: float = 30) -> int:
        return self.child.wait(seconds) if self.child else 0

    def text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""
