"""`python -m parts up --dir DIR`: starts the parts, and ends them when its standard input closes or on SIGTERM.

Commands, one a line on standard input, answered by one JSON line each: `stop kafka`, `start kafka`, `stop s3`, `start s3`,
`stop registry`, `start registry`, `stop issuer`, `start issuer`, `rotate issuer`, `quit`.
"""

import argparse
import json
import os
import secrets
import signal
import stat
import sys
import threading
from pathlib import Path

from . import places, tls
from .config import write as write_config
from .issuer import Issuer
from .kafka import Kafka
from .processes import StartError, write_secret
from .registry import Registry
from .s3 import S3


def say(**words: object) -> None:
    print(json.dumps(words), flush=True)


def started(make, attempts: int = 3):
    """A part on free ports; another process may have taken one in between, so it is tried again."""
    for attempt in range(attempts):
        part = make()
        try:
            part.create()
            part.start()
            return part
        except StartError:
            part.stop()
            if attempt + 1 == attempts:
                raise


class Parts:
    """All parts below one folder."""

    def __init__(self, folder: Path, wanted: set[str], *, measured: bool = False):
        self.folder, self.wanted, self.measured = folder, wanted, measured
        self.running: dict[str, Kafka | S3 | Registry | Issuer] = {}

    def up(self) -> None:
        certificates = self.folder / "tls"
        tls.make_all(certificates)
        # Each part waits for a child of its own; children are started by the main thread, whose end would end them.
        if "kafka" in self.wanted:
            broker = self.folder / f"kafka-{secrets.token_hex(3)}"
            self.running["kafka"] = started(lambda: Kafka(broker, certificates, measured=self.measured))
            self.running["kafka"].create_topics_and_rights()
        if "s3" in self.wanted:
            self.running["s3"] = started(lambda: S3(self.folder / f"s3-{secrets.token_hex(3)}", certificates))
            self.running["s3"].create_bucket()
        if "registry" in self.wanted:
            self.running["registry"] = started(lambda: Registry(self.folder / f"registry-{secrets.token_hex(3)}", certificates))
        if "issuer" in self.wanted:
            issuer = Issuer(self.folder / "issuer")
            issuer.add_key("first")
            issuer.add_key("unpublished", published=False)
            issuer.start()
            self.running["issuer"] = issuer
        self.describe()

    def describe(self) -> None:
        """Written whole or not at all: whoever waits for the file may read it at once."""
        description = {name: part.describe() for name, part in self.running.items()}
        description["bundles"] = [str(path) for path in places.bundles()]
        description["jdbc_jar"] = str(places.jdbc_jar())
        partial = write_secret(self.folder / "parts.json.partial", json.dumps(description, indent=2) + "\n")
        partial.rename(self.folder / "parts.json")

    def obey(self, line: str) -> None:
        verb, _, name = line.partition(" ")
        if verb == "rotate" and name == "issuer":
            self.running["issuer"].add_key(f"key-{len(self.running['issuer'].keys) + 1}")
            self.describe()
        elif verb in ("stop", "start") and name in self.running:
            getattr(self.running[name], verb)()
        else:
            say(error=f"unknown command: {line}")
            return
        say(done=line)

    def down(self) -> None:
        for part in self.running.values():
            part.stop()


def commands(quit_now: threading.Event):
    """Lines of standard input; its end is the end, unless it never was a pipe or a terminal."""
    kind = os.fstat(0).st_mode
    if not (stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind) or os.isatty(0)):
        quit_now.wait()
        return
    for line in sys.stdin:
        if line.strip() == "quit":
            return
        if line.strip():
            yield line.strip()


class Ended(Exception):
    """A signal asked for the end."""


def end_by_signal(*_arguments: object) -> None:
    raise Ended


def main() -> None:
    parser = argparse.ArgumentParser(prog="parts", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    up = actions.add_parser("up", help="start the parts and stay")
    up.add_argument("--dir", type=Path, required=True, help="folder of data, logs, credentials and parts.json")
    up.add_argument("--only", default="kafka,s3,registry,issuer", help="comma-separated: kafka, s3, registry, issuer")
    config = actions.add_parser("config", help="write lakeward.toml, producer.toml and run.json for parts that are up")
    config.add_argument("--parts", type=Path, required=True, help="the parts.json of `up`")
    config.add_argument("--dir", type=Path, required=True, help="where to write")
    config.add_argument("--lakehouse", type=Path, default=places.LISTS.parents[1] / "sql")
    config.add_argument("--user", default="lakeward", help="the Kafka user that reads (stranger has no right)")
    config.add_argument("--s3-tls", action="store_true", help="storage over TLS")
    config.add_argument("--mutual-tls", action="store_true", help="Kafka by certificate instead of password")
    actions.add_parser("check", help="say whether the set-up is done (exit status 0 or 1)")
    actions.add_parser("bundles", help="list Synthea's bundles")
    arguments = parser.parse_args()

    places.require()
    if arguments.action == "check":
        return
    if arguments.action == "bundles":
        print("\n".join(str(path) for path in places.bundles()))
        return

    folder = arguments.dir.resolve()
    if arguments.action == "config":
        described = json.loads(arguments.parts.read_text())
        run = write_config(
            described, folder, arguments.lakehouse, user=arguments.user, s3_tls=arguments.s3_tls, mutual_tls=arguments.mutual_tls
        )
        print(json.dumps({name: value for name, value in run.items() if name != "parts"}))
        return

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "parts.json").unlink(missing_ok=True)
    parts = Parts(folder, set(arguments.only.split(",")))
    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(name, end_by_signal)
    try:
        parts.up()
        say(ready=str(folder / "parts.json"))
        for line in commands(threading.Event()):
            parts.obey(line)
    except StartError as error:
        sys.exit(f"parts: {error}")
    except Ended:
        pass
    finally:
        parts.down()


if __name__ == "__main__":
    main()
