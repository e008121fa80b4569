"""A certificate authority for one run, and what it signs (PEM, by the openssl program)."""

import subprocess
from pathlib import Path


def _openssl(folder: Path, *words: str) -> None:
    done = subprocess.run(["openssl", *words], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {words[0]}: {done.stderr.strip()}")


def make_authority(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    _openssl(
        folder, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-keyout", "ca.key", "-out", "ca.crt",
        "-subj", "/CN=test-ca", "-addext", "basicConstraints=critical,CA:TRUE",
        "-addext", "keyUsage=critical,keyCertSign,cRLSign",
    )  # fmt: skip
    return folder / "ca.crt"


def make_certificate(folder: Path, name: str, common_name: str, extensions: str) -> None:
    """`name.key`, `name.crt`, and `name.keystore.pem` with the whole chain, which Kafka wants in one file."""
    _openssl(folder, "req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={common_name}")
    (folder / f"{name}.ext").write_text(extensions)
    _openssl(
        folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
        "-days", "30", "-extfile", f"{name}.ext", "-out", f"{name}.crt",
    )  # fmt: skip
    parts = [f"{name}.key", f"{name}.crt", "ca.crt"]
    (folder / f"{name}.keystore.pem").write_text("".join((folder / part).read_text() for part in parts))


# The broker calls itself and its controller: its certificate is a client's too.
SERVER = "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n"
CLIENT = "extendedKeyUsage=clientAuth\n"


def make_all(folder: Path) -> None:
    """The authority, the servers' certificate, one client who is known and one of a stranger's authority."""
    make_authority(folder)
    make_certificate(folder, "server", "kafka-broker", SERVER)
    make_certificate(folder, "client", "lakeward-mtls", CLIENT)
    foreign = folder / "foreign"
    make_authority(foreign)
    make_certificate(foreign, "client", "lakeward-mtls", CLIENT)
