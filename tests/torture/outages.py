"""`python -m torture.outages NAME --run run.json`: what ingest has to wait out, made on purpose. It waits, says so, and loses nothing.

A full disk is a real one, of a few megabytes; refusals are those of an S3 server, given by the proxy in its place; a silent broker
is one whose connections stand and bring nothing; a clock that jumps is that of the one process.
"""

import json
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from clients.lake import Lake

from .process import Lakeward, until
from .situations import EVENT, PATIENCE, Situation, play

DISK = 12 << 20
DAY = 24 * 3_600
# The situations' objective of freshness, and a little more.
OBJECTIVE = 3.0


def missing(play: Situation, one: Lakeward) -> str:
    """The parts that `/health/ready` lacks, and why; empty when it lacks none."""
    answer = play.ask(one, "/health/ready")
    if not answer:
        return "no answer"
    return "; ".join(f"{part['name']}: {part['reason']}" for part in json.loads(answer)["parts"] if not part["ready"])


def until_waits(play: Situation, one: Lakeward, *words: str) -> None:
    told: list[str] = []

    def holds() -> bool:
        told[:] = [missing(play, one)]
        return all(word in told[0] for word in words)

    try:
        until(f"/health/ready lacks {words}", PATIENCE, holds)
    except TimeoutError as error:
        raise TimeoutError(f"{error}; it lacks {told[0] or 'nothing'}") from error
    print(f"  it waits: {told[0][:400]}", flush=True)
    if not any(said in one.text() for said in ('"ingest waits"', "tried again all the time")):
        play.differ("the log does not say that it waits")


def waits_out(play: Situation, one: Lakeward, begin: Callable[[], None], end: Callable[[], None], *words: str) -> None:
    """Something is away from `begin` to `end`; meanwhile there are events, and `/health/ready` and the log say what is awaited."""
    play.send(EVENT, 0, 200)
    play.until_landed(EVENT)
    until("it is ready", PATIENCE, lambda: not missing(play, one))
    begin()
    play.send(EVENT, 0, 300)
    play.send(EVENT, 1, 300)
    until_waits(play, one, *words)
    if not one.alive():
        play.differ(f"{one.log.name} did not wait, it ended")
    time.sleep(OBJECTIVE)
    end()
    play.send(EVENT, 1, 100)
    play.until_landed(EVENT)
    until("the log says that freshness has left its objective", PATIENCE, lambda: "freshness has left its objective" in one.text())
    until("nothing is waited for any more", PATIENCE, lambda: not missing(play, one))
    play.end(one)
    play.compare(EVENT)
    if letters := play.lake.rows("raw.situation_event__dead_letter"):
        play.differ(f"{len(letters)} dead letters, the first for {letters[0]['reason']}")


def refused(play: Situation, methods: set[str], status: int, code: str, *words: str) -> None:
    gate, proxy = play.gate()
    one = play.lakeward(STORAGE_ENDPOINT=f"http://127.0.0.1:{gate.s3_port}")
    refuse = lambda what: lambda: proxy.do(lambda: setattr(gate, "refusal", what))
    waits_out(play, one, refuse((methods, status, code)), refuse(None), *words)
    if not gate.counted[f"refused with {status}"]:
        play.differ("nothing was refused")


def credentials(play: Situation) -> None:
    """The storage's credentials expire, and are renewed."""
    refused(play, {"GET", "HEAD", "PUT", "POST", "DELETE"}, 403, "ExpiredToken", "storage: it refuses", "ingest: storage: ")


def read_only(play: Situation) -> None:
    """The storage may be read and not written."""
    refused(play, {"PUT", "POST", "DELETE"}, 403, "AccessDenied", "raw.situation_event cannot be written", "privileges")


def storage_full(play: Situation) -> None:
    """The storage has no room left."""
    refused(play, {"PUT", "POST"}, 507, "XMinioStorageFull", "raw.situation_event cannot be written", "507")


def on_disk(play: Situation, folder: Path) -> None:
    """Tables on a disk, and not on S3."""
    play.url = f"file://{folder}"
    play.lake = Lake(play.run | {"storage_url": play.url})


def disk(play: Situation, refuse: Callable[[Path], None], allow: Callable[[Path], None], *words: str) -> None:
    """Tables stand on a disk of their own, on which there is no writing for a while."""
    folder = play.folder / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "lakeward", folder], check=True)
    try:
        (folder / "lake").mkdir()
        on_disk(play, folder / "lake")
        waits_out(play, play.lakeward(), lambda: refuse(folder), lambda: allow(folder), *words)
    finally:
        for process in play.processes:
            process.kill()
        subprocess.run(["umount", "--lazy", folder], check=True)


def disk_full(play: Situation) -> None:
    """Something else fills the disk, and is taken away."""

    def fill(folder: Path) -> None:
        with (folder / "ballast").open("wb", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(b"\0" * 4096)
            except OSError as error:
                if error.errno != 28:
                    raise

    disk(play, fill, lambda folder: (folder / "ballast").unlink(), "storage: ", "No space left")


def disk_read_only(play: Situation) -> None:
    """The disk turns read-only, as after an error of its own, and is mounted again."""
    mount = lambda how: lambda folder: subprocess.run(["mount", "-o", f"remount,bind,{how}", folder], check=True)
    disk(play, mount("ro"), mount("rw"), "storage: ", "Read-only file system")


def broker_silent(play: Situation) -> None:
    """No byte comes from the broker, and no connection ends."""
    gate, proxy = play.gate()
    one = play.lakeward(KAFKA_BROKERS=f"127.0.0.1:{gate.kafka_port}")
    silent = lambda is_silent: lambda: proxy.do(lambda: setattr(gate, "is_silent", is_silent))

    def end() -> None:
        time.sleep(play.options.silence)
        silent(False)()

    waits_out(play, one, silent(True), end, "no Kafka broker answers")


def clock(play: Situation) -> None:
    """A process's clock jumps ahead and back, by minutes and by days; tables on S3, which refuses who is too far off, and on a disk."""
    library, offset = play.folder / "clock.so", play.folder / "clock"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, Path(__file__).with_name("clock.c")], check=True)
    offset.write_bytes(struct.pack("=q", 0))

    def jump(seconds: int) -> None:
        with offset.open("r+b") as file:
            file.write(struct.pack("=q", seconds))

    def begin(name: str) -> Lakeward:
        one = play.lakeward(name, MAINTENANCE_INTERVAL="1s")
        one.kill()
        one.settings |= {"LD_PRELOAD": str(library), "TEST_CLOCK": str(offset)}
        one.start(Path(play.run["config"]))
        return one

    for where in ("s3", "disk"):
        if where == "disk":
            on_disk(play, play.folder / "lake")
            (play.folder / "lake").mkdir()
        one = begin(where)
        for seconds in (600, -600, 8 * DAY, -8 * DAY):
            play.send(EVENT, 0, 100)
            play.until_landed(EVENT)
            jump(seconds)
            play.send(EVENT, 0, 100)
            play.send(EVENT, 1, 100)
            if where == "disk" or abs(seconds) < DAY:
                play.until_landed(EVENT)
            else:
                until_waits(play, one, "storage: it refuses", "this machine's clock")
            jump(0)
            play.until_landed(EVENT)
        play.end(one)
        play.compare(EVENT)
    # A process begins with a clock that is days ahead, while another has uploaded what it is about to commit. When what is
    # really old is gone, it has looked at both.
    table = play.folder / "lake/raw/situation_event"
    young, old = table / "part-young.parquet", table / "part-old.parquet"
    for file in (young, old):
        file.write_bytes(b"rows")
    os.utime(old, times=(time.time() - 30 * DAY,) * 2)
    jump(8 * DAY)
    ahead = begin("ahead")
    until("what is old was deleted", PATIENCE, lambda: not old.exists())
    if not young.exists():
        play.differ("a file that was just written was deleted as old")
    play.end(ahead)


OUTAGES = {one.__name__: one for one in (credentials, read_only, storage_full, disk_full, disk_read_only, broker_silent, clock)}


def main() -> None:
    # What is mounted goes with the process, and whoever is not root may mount in a namespace of one's own.
    if "TEST_UNSHARED" not in os.environ:
        os.environ["TEST_UNSHARED"] = "yes"
        as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        os.execvp("unshare", ["unshare", "--mount", *as_root, sys.executable, "-m", "torture.outages", *sys.argv[1:]])
    play("torture.outages", __doc__, OUTAGES)


if __name__ == "__main__":
    sys.exit(main())
