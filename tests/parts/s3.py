"""SeaweedFS as an S3 server: one who may write and one who may only read, over HTTP and over TLS."""

import datetime
import hashlib
import hmac
import json
import secrets
import urllib.error
import urllib.request
from pathlib import Path

from . import places
from .processes import LOOPBACK, Child, free_ports, write_secret

BUCKET = "lake"
REGION = "us-east-1"


class S3:
    """One server below one folder; `stop` and `start` again keep its data and ports."""

    def __init__(self, folder: Path, tls: Path):
        self.folder, self.tls = folder, tls
        self.keys = {user: (secrets.token_hex(10).upper(), secrets.token_urlsafe(30)) for user in ("lakeward", "reader")}
        self.port = self.tls_port = 0
        self.ports: list[int] = []
        self.child: Child | None = None

    def create(self) -> None:
        (self.folder / "data").mkdir(parents=True, exist_ok=True)
        self.ports = free_ports(9)
        self.port, self.tls_port = self.ports[:2]
        actions = {"lakeward": ["Admin", "Read", "List", "Tagging", "Write"], "reader": [f"Read:{BUCKET}", f"List:{BUCKET}"]}
        identities = [
            {"name": user, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": actions[user]}
            for user, (key, secret) in self.keys.items()
        ]
        write_secret(self.folder / "s3.json", json.dumps({"identities": identities}))
        for user, (key, secret) in self.keys.items():
            write_secret(self.folder / f"{user}.access-key", key)
            write_secret(self.folder / f"{user}.secret-key", secret)

    def start(self) -> None:
        """Starts the server and returns when it answers."""
        http, https, s3_grpc, master, master_grpc, volume, volume_grpc, filer, filer_grpc = self.ports
        command = [
            places.WEED, "-logtostderr=true", "server", "-dir=data", f"-ip={LOOPBACK}", f"-ip.bind={LOOPBACK}",
            "-volume.max=60", "-master.volumeSizeLimitMB=128", "-master.telemetry=false", "-filer", "-s3", "-s3.config=s3.json",
            "-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.port={http}", f"-s3.port.grpc={s3_grpc}", f"-s3.port.https={https}",
            f"-s3.cert.file={self.tls}/server.crt", f"-s3.key.file={self.tls}/server.key",
            f"-master.port={master}", f"-master.port.grpc={master_grpc}", f"-volume.port={volume}", f"-volume.port.grpc={volume_grpc}",
            f"-filer.port={filer}", f"-filer.port.grpc={filer_grpc}",
        ]  # fmt: skip
        self.child = Child("s3", command, self.folder)
        self.child.wait_until(self._answers, 60)

    def stop(self) -> None:
        if self.child is not None:
            self.child.kill()
            self.child = None

    def create_bucket(self) -> None:
        """Tried until the volume server has joined: `/healthz` says yes a little earlier."""
        self.child.wait_until(lambda: self.request("PUT", f"/{BUCKET}") in (200, 409), 60)
        self.child.wait_until(lambda: self.request("PUT", f"/{BUCKET}/.probe", b"probe") == 200, 60)
        self.request("DELETE", f"/{BUCKET}/.probe")

    def request(self, method: str, path: str, body: bytes = b"") -> int:
        """The status of one signed request (AWS Signature Version 4); 0 when nobody answers."""
        key, secret = self.keys["lakeward"]
        host = f"{LOOPBACK}:{self.port}"
        now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
        digest = hashlib.sha256(body).hexdigest()
        signed = "host;x-amz-content-sha256;x-amz-date"
        canonical = f"{method}\n{path}\n\nhost:{host}\nx-amz-content-sha256:{digest}\nx-amz-date:{now}\n\n{signed}\n{digest}"
        scope = f"{now[:8]}/{REGION}/s3/aws4_request"
        to_sign = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signing_key = f"AWS4{secret}".encode()
        for word in scope.split("/"):
            signing_key = hmac.digest(signing_key, word.encode(), "sha256")
        signature = hmac.new(signing_key, to_sign.encode(), "sha256").hexdigest()
        headers = {
            "x-amz-content-sha256": digest,
            "x-amz-date": now,
            "authorization": f"AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders={signed}, Signature={signature}",
        }
        request = urllib.request.Request(f"http://{host}{path}", data=body or None, method=method, headers=headers)
        return _status(request)

    def describe(self) -> dict:
        def credentials(user: str) -> dict[str, str]:
            return {
                "access_key_id_file": str(self.folder / f"{user}.access-key"),
                "secret_access_key_file": str(self.folder / f"{user}.secret-key"),
            }

        return {
            "endpoint": f"http://{LOOPBACK}:{self.port}",
            "tls_endpoint": f"https://localhost:{self.tls_port}",
            "ca": str(self.tls / "ca.crt"),
            "region": REGION,
            "bucket": BUCKET,
            "users": {user: credentials(user) for user in self.keys},
        }

    def _answers(self) -> bool:
        return _status(urllib.request.Request(f"http://{LOOPBACK}:{self.port}/healthz")) == 200


def _status(request: urllib.request.Request) -> int:
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0
