"""Apicurio as a schema registry, by the interface that Confluent's clients speak, over HTTP and over TLS; it keeps its schemas in a file."""

import urllib.error
import urllib.request
from pathlib import Path

from . import places
from .processes import LOOPBACK, Child, free_ports

JAVA = ["-Xmx320m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]


class Registry:
    """One server below one folder; `stop` and `start` again keep its schemas and ports."""

    def __init__(self, folder: Path, tls: Path):
        self.folder, self.tls = folder, tls
        self.port = self.tls_port = self.management_port = 0
        self.child: Child | None = None

    def create(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port, self.tls_port, self.management_port = free_ports(3)

    def start(self) -> None:
        """Starts the server and returns when it answers."""
        environment = {
            "QUARKUS_HTTP_HOST": LOOPBACK,
            "QUARKUS_HTTP_PORT": str(self.port),
            "QUARKUS_HTTP_SSL_PORT": str(self.tls_port),
            "QUARKUS_HTTP_SSL_CERTIFICATE_FILES": f"{self.tls}/server.crt",
            "QUARKUS_HTTP_SSL_CERTIFICATE_KEY_FILES": f"{self.tls}/server.key",
            "QUARKUS_HTTP_INSECURE_REQUESTS": "enabled",
            # By itself it binds to every address.
            "QUARKUS_MANAGEMENT_HOST": LOOPBACK,
            "QUARKUS_MANAGEMENT_PORT": str(self.management_port),
            "APICURIO_STORAGE_KIND": "sql",
            "APICURIO_STORAGE_SQL_KIND": "h2",
            # By itself it may lose over `kill -9` what it has confirmed in the last half a second.
            "APICURIO_DATASOURCE_URL": f"jdbc:h2:file:{self.folder}/h2/registry;WRITE_DELAY=0",
            "APICURIO_DATASOURCE_USERNAME": "sa",
            "APICURIO_DATASOURCE_PASSWORD": "sa",
        }
        command = [places.java_21(), *JAVA, "-jar", str(places.REGISTRY / "app" / "quarkus-run.jar")]
        self.child = Child("registry", command, self.folder, environment)
        self.child.wait_until(self._answers, 120)

    def stop(self) -> None:
        if self.child is not None:
            self.child.kill()
            self.child = None

    def describe(self) -> dict:
        path = "apis/ccompat/v7"
        return {
            "url": f"http://{LOOPBACK}:{self.port}/{path}",
            "tls_url": f"https://localhost:{self.tls_port}/{path}",
            "ca": str(self.tls / "ca.crt"),
        }

    def _answers(self) -> bool:
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{self.describe()['url']}/subjects", timeout=5) as answer:
                return answer.status == 200
        except (urllib.error.HTTPError, OSError):
            return False
