"""Apache Kafka over SASL_SSL with SCRAM-SHA-512, over mutual TLS, and with access lists that deny by default."""

import base64
import secrets
import subprocess
import uuid
from pathlib import Path

from . import places
from .processes import LOOPBACK, Child, StartError, free_ports, write_secret

TOPICS = [
    *(
        f"clinic.{name}"
        for name in (
            "patient", "practitioner", "organization", "location", "appointment", "encounter", "condition",
            "medication_request", "observation", "consent", "document",
        )  # fmt: skip
    ),
    "erp.payment",
    "erp.stock_movement",
]
TOPIC_PREFIXES = ("clinic.", "erp.")
PARTITIONS = 3
# `lakeward` reads, `producer` writes, `stranger` has a password and no right at all.
USERS = ("admin", "lakeward", "producer", "stranger")
CERTIFIED_READER = "lakeward-mtls"
LARGEST_MESSAGE = 16 * 1024 * 1024

JAVA_BROKER = ["java", "-Xms64m", "-Xmx320m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:MaxMetaspaceSize=256m"]
# Where speed is measured: the second compiler too. The first alone starts sooner, and encrypts no more than 30 MB/s on a core.
JAVA_MEASURED = [option for option in JAVA_BROKER if "Tiered" not in option]
JAVA_TOOL = ["java", "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=CLIENT://127.0.0.1:{client},MTLS://127.0.0.1:{mtls},CONTROLLER://127.0.0.1:{controller}{behind_proxies}
advertised.listeners=CLIENT://127.0.0.1:{client},MTLS://127.0.0.1:{mtls}{proxies}
listener.security.protocol.map=CLIENT:SASL_SSL,MTLS:SSL,CONTROLLER:SSL{proxied_protocols}
controller.listener.names=CONTROLLER
inter.broker.listener.name=MTLS
log.dirs=data
ssl.keystore.type=PEM
ssl.keystore.location={tls}/server.keystore.pem
ssl.truststore.type=PEM
ssl.truststore.location={tls}/ca.crt
ssl.enabled.protocols=TLSv1.3,TLSv1.2
listener.name.mtls.ssl.client.auth=required
listener.name.controller.ssl.client.auth=required
listener.name.client.ssl.client.auth=none
ssl.principal.mapping.rules=RULE:^CN=([^,]+).*$/$1/,DEFAULT
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.client.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.client.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=false
super.users=User:kafka-broker;User:admin
auto.create.topics.enable=false
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=5
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=5
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.retention.check.interval.ms=1000
log.cleaner.backoff.ms=500
num.network.threads=2
num.io.threads=4
log.cleaner.dedupe.buffer.size=16777216
message.max.bytes={largest}
replica.fetch.max.bytes={largest}
"""

# A listener that says it stands where a proxy of the tests does: a client that comes through the proxy stays behind it.
PROXIED = """\
listener.name.proxied{number}.ssl.client.auth=none
listener.name.proxied{number}.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.proxied{number}.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
"""
PROXIES = 3

LOGGING = """\
rootLogger.level=INFO
rootLogger.appenderRef.console.ref=console
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d{HH:mm:ss.SSS} %p %c{1} %m%n
"""


class Kafka:
    """One broker below one folder; `stop` and `start` again keep its data and ports."""

    def __init__(self, folder: Path, tls: Path, *, measured: bool = False):
        self.folder, self.tls, self.measured = folder, tls, measured
        self.passwords = {user: secrets.token_urlsafe(18) for user in USERS}
        self.client_port = self.mtls_port = self.controller_port = 0
        self.proxied: list[dict[str, int]] = []
        self.child: Child | None = None

    def create(self) -> None:
        """Writes the configuration on free ports and formats the log directory."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.client_port, self.mtls_port, self.controller_port, *ports = free_ports(3 + 2 * PROXIES)
        self.proxied = [{"listens": ports[2 * number], "proxy": ports[2 * number + 1]} for number in range(PROXIES)]
        (self.folder / "server.properties").write_text(
            PROPERTIES.format(
                client=self.client_port, mtls=self.mtls_port, controller=self.controller_port, tls=self.tls, largest=LARGEST_MESSAGE,
                behind_proxies="".join(f",PROXIED{number}://{LOOPBACK}:{one['listens']}" for number, one in enumerate(self.proxied)),
                proxies="".join(f",PROXIED{number}://{LOOPBACK}:{one['proxy']}" for number, one in enumerate(self.proxied)),
                proxied_protocols="".join(f",PROXIED{number}:SASL_SSL" for number in range(PROXIES)),
            )
            + "".join(PROXIED.format(number=number) for number in range(PROXIES))
        )  # fmt: skip
        (self.folder / "log4j2.properties").write_text(LOGGING)
        for user, password in self.passwords.items():
            write_secret(self.folder / f"{user}.password", password)
        cluster = base64.urlsafe_b64encode(b"\x01" + uuid.uuid4().bytes[1:]).decode().rstrip("=")
        command = [*self._java(JAVA_TOOL), "kafka.tools.StorageTool", "format", "-t", cluster, "-c", "server.properties"]
        for user, password in self.passwords.items():
            command += ["--add-scram", f"SCRAM-SHA-512=[name={user},password={password}]"]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise StartError(f"kafka could not format its log directory: {done.stderr.strip()[-2000:]}")

    def start(self) -> None:
        """Starts the broker and returns when it says that it is up."""
        java = self._java(JAVA_MEASURED if self.measured else JAVA_BROKER)
        command = [*java, "-Dlog4j2.configurationFile=log4j2.properties", "kafka.Kafka", "server.properties"]
        log = self.folder / "kafka.log"
        before = log.stat().st_size if log.exists() else 0
        self.child = Child("kafka", command, self.folder)

        def said_so() -> bool:
            with log.open("rb") as file:
                file.seek(before)
                return b"Kafka Server started" in file.read()

        self.child.wait_until(said_so, 90)

    def stop(self) -> None:
        if self.child is not None:
            self.child.kill()
            self.child = None

    def create_topics_and_rights(self) -> None:
        # The one place that needs a client library; everything before it runs without.
        from confluent_kafka.admin import (
            AclBinding, AclOperation, AclPermissionType, AdminClient, NewTopic, ResourcePatternType, ResourceType,
        )  # fmt: skip

        admin = AdminClient(self.client_properties("admin"))
        pending = admin.create_topics([NewTopic(topic, PARTITIONS, 1, config={"max.message.bytes": str(LARGEST_MESSAGE)}) for topic in TOPICS])
        for future in pending.values():
            future.result(30)

        def allow(kind, prefix: str, user: str, operation) -> AclBinding:
            return AclBinding(kind, prefix, ResourcePatternType.PREFIXED, f"User:{user}", "*", operation, AclPermissionType.ALLOW)

        rules = []
        for prefix in TOPIC_PREFIXES:
            for user in ("lakeward", CERTIFIED_READER):
                rules += [allow(ResourceType.TOPIC, prefix, user, operation) for operation in (AclOperation.READ, AclOperation.DESCRIBE)]
            rules += [allow(ResourceType.TOPIC, prefix, "producer", operation) for operation in (AclOperation.WRITE, AclOperation.DESCRIBE)]
        for user in ("lakeward", CERTIFIED_READER):
            rules.append(allow(ResourceType.GROUP, "lakeward", user, AclOperation.READ))
        for operation in (AclOperation.WRITE, AclOperation.DESCRIBE):
            rules.append(allow(ResourceType.TRANSACTIONAL_ID, "lakeward", "producer", operation))
        for future in admin.create_acls(rules).values():
            future.result(30)

    def client_properties(self, user: str) -> dict[str, str]:
        """librdkafka's properties for a user with a password."""
        return {
            "bootstrap.servers": f"{LOOPBACK}:{self.client_port}",
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": user,
            "sasl.password": self.passwords[user],
            "ssl.ca.location": str(self.tls / "ca.crt"),
        }

    def describe(self) -> dict:
        def certified(folder: Path) -> dict[str, str]:
            return {"certificate": str(folder / "client.crt"), "key": str(folder / "client.key")}

        return {
            "bootstrap": f"{LOOPBACK}:{self.client_port}",
            "mechanism": "SCRAM-SHA-512",
            "users": {user: {"name": user, "password_file": str(self.folder / f"{user}.password")} for user in USERS},
            "ca": str(self.tls / "ca.crt"),
            "mtls": {
                "bootstrap": f"{LOOPBACK}:{self.mtls_port}",
                "principal": CERTIFIED_READER,
                "client": certified(self.tls),
                "foreign": certified(self.tls / "foreign"),
            },
            "topics": TOPICS,
            "partitions": PARTITIONS,
            "largest_message": LARGEST_MESSAGE,
            "proxied": self.proxied,
        }

    @staticmethod
    def _java(options: list[str]) -> list[str]:
        return [*options, "-cp", f"{places.KAFKA_JARS}/*"]


def plaintext_broker(folder: Path) -> tuple[Child, str]:
    """A broker without TLS or rights, for measuring only: the child and its address."""
    folder.mkdir(parents=True, exist_ok=True)
    client, controller = free_ports(2)
    lines = [
        line
        for line in PROPERTIES.splitlines()
        if not any(word in line for word in ("ssl", "sasl", "authorizer", "acl", "super.users", "listener", "quorum", "replica.fetch"))
    ]
    lines += [
        f"controller.quorum.voters=1@{LOOPBACK}:{controller}",
        f"listeners=PLAINTEXT://{LOOPBACK}:{client},CONTROLLER://{LOOPBACK}:{controller}",
        f"advertised.listeners=PLAINTEXT://{LOOPBACK}:{client}",
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names=CONTROLLER",
        "inter.broker.listener.name=PLAINTEXT",
    ]
    text = "\n".join(lines).format(largest=LARGEST_MESSAGE) + "\n"
    (folder / "server.properties").write_text(text)
    (folder / "log4j2.properties").write_text(LOGGING)
    cluster = base64.urlsafe_b64encode(b"\x01" + uuid.uuid4().bytes[1:]).decode().rstrip("=")
    java = [*JAVA_TOOL, "-cp", f"{places.KAFKA_JARS}/*"]
    done = subprocess.run(
        [*java, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", "server.properties"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise StartError(f"kafka could not format its log directory: {done.stderr.strip()[-2000:]}")
    options = [*JAVA_MEASURED, "-cp", f"{places.KAFKA_JARS}/*", "-Dlog4j2.configurationFile=log4j2.properties"]
    child = Child("kafka", [*options, "kafka.Kafka", "server.properties"], folder)
    child.wait_until(lambda: "Kafka Server started" in child.log.read_text(errors="replace"), 90)
    return child, f"{LOOPBACK}:{client}"
