"""An OpenID Connect issuer that publishes its discovery document and keys, as any other would.

Tokens are made by the clients of the tests themselves with the private keys below the issuer's folder
(`clients/tokens.py`), so that there is nothing here that could mint one for whoever asks. `rotate` publishes a second key.
"""

import base64
import http.server
import json
import subprocess
import threading
from pathlib import Path

from .processes import LOOPBACK

AUDIENCE = "lakeward"


def _number(value: int) -> str:
    return base64.urlsafe_b64encode(value.to_bytes((value.bit_length() + 7) // 8, "big")).decode().rstrip("=")


class Issuer:
    """Serves `/.well-known/openid-configuration` and `/keys` on loopback, in a thread of this process."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.keys: list[dict] = []
        self.requests = {"discovery": 0, "keys": 0}
        self.server: http.server.ThreadingHTTPServer | None = None

    def add_key(self, name: str, published: bool = True) -> None:
        """An RSA key `name.pem`; one that is not published signs what nobody should believe."""
        path = self.folder / f"{name}.pem"
        subprocess.run(["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", path], capture_output=True, check=True)
        path.chmod(0o600)
        if not published:
            return
        shown = subprocess.run(["openssl", "rsa", "-in", path, "-noout", "-modulus"], capture_output=True, text=True, check=True)
        modulus = int(shown.stdout.strip().removeprefix("Modulus="), 16)
        self.keys.append({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": name, "n": _number(modulus), "e": _number(65537)})

    def start(self) -> None:
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/.well-known/openid-configuration":
                    issuer.requests["discovery"] += 1
                    body = issuer.discovery()
                elif self.path == "/keys":
                    issuer.requests["keys"] += 1
                    body = {"keys": issuer.keys}
                else:
                    self.send_error(404)
                    return
                payload = json.dumps(body).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            def log_message(self, *_words) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer((LOOPBACK, self.server.server_port if self.server else 0), Handler)
        threading.Thread(target=self.server.serve_forever, name="issuer", daemon=True).start()

    def stop(self) -> None:
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.server.server_port}"

    def discovery(self) -> dict:
        return {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/keys",
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    def describe(self) -> dict:
        return {"url": self.url, "audience": AUDIENCE, "algorithm": "RS256", "keys_folder": str(self.folder), "kid": self.keys[-1]["kid"]}
