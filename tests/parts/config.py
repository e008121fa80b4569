"""Writes the configuration of `lakeward serve` and `lakeward produce` for the running parts."""

import json
import secrets
from pathlib import Path

from .processes import LOOPBACK, free_ports, write_secret

PREFIX = "clinic"
SOURCE = "clinic-main"

SERVE = """\
[lakehouse]
directory = {lakehouse}

[storage]
url = {storage_url}
endpoint = {endpoint}
region = {region}
access_key_id_file = {access_key_id_file}
secret_access_key_file = {secret_access_key_file}
allow_http = {allow_http}
{storage_ca}
[kafka]
source = "{source}"
brokers = {bootstrap}
group = "lakeward-test"
{kafka_security}
{registry}
[ingest]
commit_interval = "2s"

[[issuers]]
url = {issuer_url}
audience = {audience}
algorithms = ["RS256"]
allow_http = true

[pseudonyms]
secret_file = {pseudonym_secret_file}

[http]
listen = "{loopback}:{http_port}"

[flight]
listen = "{loopback}:{flight_port}"

[log]
format = "json"
"""

PRODUCE = """\
[lakehouse]
directory = {lakehouse}

[storage]
url = "file:///nowhere"

[kafka]
source = "{source}"
brokers = {bootstrap}
security = "sasl_ssl"
username = "producer"
password_file = {password_file}
ca_file = {ca}

{registry}"""


def _quoted(text: object) -> str:
    # A JSON string is a TOML basic string.
    return json.dumps(str(text))


def write(parts: dict, folder: Path, lakehouse: Path, *, user: str = "lakeward", s3_tls: bool = False, mutual_tls: bool = False) -> dict:
    """`lakeward.toml`, `producer.toml` and `run.json`; what it returns is what stands in `run.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    kafka, s3, issuer = parts["kafka"], parts["s3"], parts["issuer"]
    secret = folder / "pseudonyms.secret"
    if not secret.exists():
        write_secret(secret, secrets.token_urlsafe(36))
    http_port, flight_port = free_ports(2)
    # Who starts none needs none.
    schemas = parts.get("registry")
    registry = f"[registry]\nurl = {_quoted(schemas['tls_url'])}\nca_file = {_quoted(schemas['ca'])}\n" if schemas else ""
    if mutual_tls:
        bootstrap, client = kafka["mtls"]["bootstrap"], kafka["mtls"]["client"]
        security = [("security", "ssl"), ("certificate_file", client["certificate"]), ("key_file", client["key"])]
    else:
        bootstrap, account = kafka["bootstrap"], kafka["users"][user]
        security = [("security", "sasl_ssl"), ("sasl_mechanism", kafka["mechanism"]), ("username", account["name"]), ("password_file", account["password_file"])]
    security.append(("ca_file", kafka["ca"]))
    storage_url = f"s3://{s3['bucket']}/{PREFIX}"
    owner = s3["users"]["lakeward"]
    (folder / "lakeward.toml").write_text(
        SERVE.format(
            lakehouse=_quoted(lakehouse.resolve()),
            storage_url=_quoted(storage_url),
            endpoint=_quoted(s3["tls_endpoint"] if s3_tls else s3["endpoint"]),
            region=_quoted(s3["region"]),
            access_key_id_file=_quoted(owner["access_key_id_file"]),
            secret_access_key_file=_quoted(owner["secret_access_key_file"]),
            allow_http="false" if s3_tls else "true",
            storage_ca=f"ca_file = {_quoted(s3['ca'])}\n" if s3_tls else "",
            source=SOURCE,
            bootstrap=_quoted(bootstrap),
            registry=registry,
            kafka_security="".join(f"{key} = {_quoted(value)}\n" for key, value in security),
            issuer_url=_quoted(issuer["url"]),
            audience=_quoted(issuer["audience"]),
            pseudonym_secret_file=_quoted(secret),
            loopback=LOOPBACK,
            http_port=http_port,
            flight_port=flight_port,
        )
    )
    producer = kafka["users"]["producer"]
    (folder / "producer.toml").write_text(
        PRODUCE.format(lakehouse=_quoted(lakehouse.resolve()), registry=registry, source=SOURCE, bootstrap=_quoted(kafka["bootstrap"]), password_file=_quoted(producer["password_file"]), ca=_quoted(kafka["ca"]))
    )
    run = {
        "config": str(folder / "lakeward.toml"),
        "producer_config": str(folder / "producer.toml"),
        "http": f"http://{LOOPBACK}:{http_port}",
        "flight": f"grpc://{LOOPBACK}:{flight_port}",
        "storage_url": storage_url,
        "pseudonym_secret_file": str(secret),
        "lakehouse": str(lakehouse.resolve()),
        "parts": parts,
    }
    write_secret(folder / "run.json", json.dumps(run, indent=2) + "\n")
    return run
