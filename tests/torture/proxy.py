"""A fault proxy: between one Lakeward and the S3 server it reads HTTP, between it and Kafka it passes bytes on.

It can cut, delay and slow connections, and drop the answer of a request that was forwarded. It also springs *traps*: a
trap kills the process at a chosen point of its work, in the very moment in which the proxy sees it there.
"""

import asyncio
import os
import re
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

LOOPBACK = "127.0.0.1"
PART = re.compile(r"/([^/]+/[^/]+)/(?:_lw_bucket(?:=|%3D)\d+/)?part-[^/]*$")
COMMIT = re.compile(r"/([^/]+/[^/]+)/_delta_log/\d{20}\.json$")
# What a process must have fetched, in bytes, before it counts as decoding.
FETCHED = 30_000


@dataclass
class Trap:
    """Waits for a process at a point of its work, and kills it there. `skip`: how many such points pass before."""

    kind: str
    skip: int = 0
    # Of an upload: whether the process dies in its middle, or when all of it is sent and not answered.
    half: bool = False
    armed: bool = True
    done: threading.Event = field(default_factory=threading.Event)
    victim: "Gate | None" = None
    table: str = ""

    def springs(self) -> bool:
        if not self.armed:
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        self.armed = False
        return True

    def kill(self, gate: "Gate", table: str) -> None:
        os.kill(gate.pid, signal.SIGKILL)
        self.victim, self.table = gate, table
        self.done.set()


class Gate:
    """Everything that passes between one process and its servers."""

    def __init__(self, number: int, s3_to: int, kafka_to: int, kafka_port: int):
        self.number, self.s3_to, self.kafka_to, self.kafka_port = number, s3_to, kafka_to, kafka_port
        self.s3_port = 0
        self.pid = 0
        self.trap: Trap | None = None
        self.delay = {"s3": (0.0, 0.0), "kafka": (0.0, 0.0)}
        self.rate = {"s3": (0.0, 0.0), "kafka": (0.0, 0.0)}
        self.swallow = 0
        # Which requests the storage refuses, with which status and code.
        self.refusal: tuple[set[str], int, str] | None = None
        # Whether Kafka's connections stand and bring nothing.
        self.is_silent = False
        self.counted: Counter[str] = Counter()
        self.fetched = 0
        self.uploading = 0
        self.uploaded = False
        self.servers: list[asyncio.Server] = []
        self.writers: dict[str, set[asyncio.StreamWriter]] = {"s3": set(), "kafka": set()}

    def begun(self, pid: int) -> None:
        """Another process stands behind the gate."""
        self.pid, self.fetched, self.uploading, self.uploaded = pid, 0, 0, False

    def cut(self, part: str) -> None:
        for writer in list(self.writers[part]):
            writer.transport.abort()

    async def hold(self, part: str, size: int) -> None:
        """What a slow line costs."""
        now = time.monotonic()
        until, seconds = self.delay[part]
        if now < until:
            await asyncio.sleep(seconds)
        until, rate = self.rate[part]
        if now < until:
            await asyncio.sleep(min(size / rate, 2.0))

    # ---- Kafka: bytes ------------------------------------------------------------------------------------------------

    async def kafka(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            to_reader, to_writer = await asyncio.open_connection(LOOPBACK, self.kafka_to)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, to_writer}
        self.writers["kafka"] |= both
        try:
            await asyncio.gather(self._pump(reader, to_writer, False), self._pump(to_reader, writer, True))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.writers["kafka"] -= both
            for one in both:
                one.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, down: bool) -> None:
        while data := await reader.read(1 << 16):
            await self.hold("kafka", len(data))
            while self.is_silent:
                await asyncio.sleep(0.1)
            if down:
                self.fetched += len(data)
                self._decoding()
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError

    def _decoding(self) -> None:
        """A process that fetched and uploads nothing is decoding what it fetched, or gathers it."""
        trap = self.trap
        if trap and trap.kind == "decoding" and trap.armed and self.fetched > FETCHED and not self.uploading:
            # Some milliseconds of work, which is the number of points that are skipped.
            asyncio.get_running_loop().call_later(trap.skip / 1000, self._still_decoding, trap)
            trap.armed = False

    def _still_decoding(self, trap: Trap) -> None:
        if self.uploading or self.fetched <= FETCHED:
            trap.armed = True
        else:
            trap.kill(self, "")

    # ---- S3: requests ------------------------------------------------------------------------------------------------

    async def s3(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            to_reader, to_writer = await asyncio.open_connection(LOOPBACK, self.s3_to)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, to_writer}
        self.writers["s3"] |= both
        try:
            while await self._request(reader, writer, to_reader, to_writer):
                pass
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.writers["s3"] -= both
            for one in both:
                one.transport.abort()

    async def _request(self, reader, writer, to_reader, to_writer) -> bool:
        """One request and its answer; whether the connection lives on."""
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        if self.refusal and method in self.refusal[0]:
            return await self._refuse(reader, writer, method, _length(head))
        path = target.split("?")[0]
        part = PART.search(path) if method == "PUT" else None
        commit = COMMIT.search(path) if method == "PUT" else None
        table = (part or commit or [None, ""])[1]
        trap = self.trap
        if commit and self.uploaded and trap and trap.kind == "between" and trap.springs():
            trap.kill(self, table)
            return False
        uploading = part and trap and trap.kind == "uploading" and trap.springs()
        if part:
            # What was fetched until now goes its way.
            self.fetched = 0
            self.uploading += 1
        try:
            to_writer.write(head)
            length = _length(head)
            if uploading and trap.half and length > 1:
                to_writer.write(await reader.readexactly(length // 2))
                trap.kill(self, table)
                return False
            await self._relay(reader, to_writer, length, "s3")
            if uploading:
                trap.kill(self, table)
                return False
            status, answer = await self._answer(to_reader)
        finally:
            if part:
                self.uploading -= 1
        if part and status == 200:
            self.uploaded = True
        if commit and status == 200:
            self.uploaded = False
            if trap and trap.kind == "lost answer" and trap.springs():
                trap.kill(self, table)
                return False
            if self.swallow > 0:
                self.swallow -= 1
                self.counted["answer of a commit dropped"] += 1
                return False
        await self.hold("s3", len(answer))
        writer.write(answer)
        body = 0 if method == "HEAD" or status in (204, 304) else _length(answer)
        if body < 0:
            await self._relay_chunks(to_reader, writer)
        else:
            await self._relay(to_reader, writer, body, "s3")
        return b"connection: close" not in answer.lower()

    async def _refuse(self, reader, writer, method: str, length: int) -> bool:
        """As an S3 server does; what was sent is read first."""
        _, status, code = self.refusal
        await reader.readexactly(max(length, 0))
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>refused by the test</Message></Error>".encode()
        writer.write(f"HTTP/1.1 {status} Refused\r\ncontent-type: application/xml\r\ncontent-length: {len(body)}\r\n\r\n".encode())
        writer.write(b"" if method == "HEAD" else body)
        await writer.drain()
        self.counted[f"refused with {status}"] += 1
        return True

    async def _relay(self, reader, writer, length: int, part: str) -> None:
        while length > 0:
            data = await reader.read(min(length, 1 << 16))
            if not data:
                raise ConnectionResetError
            length -= len(data)
            await self.hold(part, len(data))
            writer.write(data)
            await writer.drain()

    @staticmethod
    async def _relay_chunks(reader, writer) -> None:
        while True:
            line = await reader.readuntil(b"\r\n")
            size = int(line.split(b";")[0], 16)
            writer.write(line + await reader.readexactly(size + 2))
            await writer.drain()
            if size == 0:
                return

    @staticmethod
    async def _answer(reader) -> tuple[int, bytes]:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head.split(b" ", 2)[1])
            if status >= 200:
                return status, head


def _length(head: bytes) -> int:
    """The length of a body; -1 when it comes in chunks."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
        if name.lower() == b"transfer-encoding" and b"chunked" in value.lower():
            return -1
    return 0


class Proxy:
    """All gates, in one thread of their own."""

    def __init__(self, gates: list[Gate]):
        self.gates = gates
        self.loop = asyncio.new_event_loop()
        self.failure: OSError | None = None
        ready = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(ready,), daemon=True, name="proxy")
        self.thread.start()
        if not ready.wait(10) or self.failure:
            raise RuntimeError(f"the proxy did not start: {self.failure}")

    def _run(self, ready: threading.Event) -> None:
        async def listen() -> None:
            try:
                for gate in self.gates:
                    server = await asyncio.start_server(gate.s3, LOOPBACK, 0, limit=1 << 20)
                    gate.s3_port = server.sockets[0].getsockname()[1]
                    gate.servers = [server, await asyncio.start_server(gate.kafka, LOOPBACK, gate.kafka_port, limit=1 << 20)]
            except OSError as error:
                self.failure = error
            ready.set()

        self.loop.create_task(listen())
        self.loop.run_forever()

    def do(self, action, *arguments) -> None:
        """Runs something in the proxy's thread, and returns when it has run."""
        done = threading.Event()

        def run() -> None:
            try:
                action(*arguments)
            finally:
                done.set()

        self.loop.call_soon_threadsafe(run)
        done.wait(10)

    def close(self) -> None:
        """Nothing passes any more, and the ports are free."""

        def close() -> None:
            for gate in self.gates:
                for server in gate.servers:
                    server.close()
                for part in gate.writers:
                    gate.cut(part)

        self.do(close)

    def arm(self, trap: Trap | None) -> None:
        """The first process that comes to the trap's point is its victim."""

        def arm() -> None:
            for gate in self.gates:
                gate.trap = trap

        self.do(arm)
