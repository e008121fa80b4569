"""Access tokens, made as an issuer makes them (PyJWT), and made wrong in every way that must be refused."""

import base64
import json
import time
from pathlib import Path

import jwt


class Mint:
    """Signs with the private keys below the folder of the tests' issuer."""

    def __init__(self, run: dict):
        self.issuer = run["parts"]["issuer"]
        self.folder = Path(self.issuer["keys_folder"])

    def key(self, name: str) -> bytes:
        return (self.folder / f"{name}.pem").read_bytes()

    def claims(self, subject: str, **attributes: object) -> dict:
        now = int(time.time())
        return {"iss": self.issuer["url"], "aud": self.issuer["audience"], "sub": subject, "iat": now, "exp": now + 3600, **attributes}

    def token(self, subject: str, **attributes: object) -> str:
        kid = self.issuer["kid"]
        return jwt.encode(self.claims(subject, **attributes), self.key(kid), "RS256", {"kid": kid})

    def bad_tokens(self, **attributes: object) -> dict[str, str]:
        """Tokens that nobody may believe, by what is wrong with them; all else about them is right."""
        kid, now = self.issuer["kid"], int(time.time())
        good = self.claims("anna.analyst", **attributes)
        own, foreign = self.key(kid), self.key("unpublished")

        def signed(claims: dict, key: bytes = own, algorithm: str = "RS256", kid: str | None = kid) -> str:
            return jwt.encode(claims, key, algorithm, {"kid": kid} if kid else None)

        def without(claim: str) -> dict:
            return {name: value for name, value in good.items() if name != claim}

        head, body, signature = signed(good).split(".")
        other_body = base64.urlsafe_b64encode(json.dumps({**good, "sub": "dmitri.doctor"}).encode()).decode().rstrip("=")
        unsigned_head = base64.urlsafe_b64encode(json.dumps({"alg": "none", "typ": "JWT"}).encode()).decode().rstrip("=")
        public = self.public_key_pem()
        return {
            "expired": signed({**good, "exp": now - 600, "iat": now - 4200}),
            "not yet valid": signed({**good, "nbf": now + 3600}),
            "wrong audience": signed({**good, "aud": "somebody-else"}),
            "audience of several, not ours": signed({**good, "aud": ["one", "two"]}),
            "wrong issuer": signed({**good, "iss": "http://127.0.0.1:9/realms/clinic"}),
            "no expiry": signed(without("exp")),
            "no audience": signed(without("aud")),
            "no issuer": signed(without("iss")),
            "no subject": signed(without("sub")),
            "alg none": f"{unsigned_head}.{body}.",
            "alg none with a signature": f"{unsigned_head}.{body}.{signature}",
            "signature cut off": f"{head}.{body}.",
            "signature of another body": f"{head}.{other_body}.{signature}",
            "key that is not published, under a known kid": signed(good, foreign),
            "key that is not published, under its own kid": signed(good, foreign, kid="unpublished"),
            "key that is not published, without kid": signed(good, foreign, kid=None),
            "HS256 with the public key as secret": hs256(good, public, kid),
            "HS256 with a guessed secret": hs256(good, b"secret", kid),
            "RS512, which is not pinned": signed(good, algorithm="RS512"),
            "PS256, which is not pinned": signed(good, algorithm="PS256"),
            "no token at all": "not-a-token",
            "empty": "",
        }

    def public_key_pem(self) -> bytes:
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

        public = load_pem_private_key(self.key(self.issuer["kid"]), None).public_key()
        return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def hs256(claims: dict, secret: bytes, kid: str) -> str:
    """Written out by hand: PyJWT refuses to sign with a public key, as an attacker would not."""
    import hashlib
    import hmac

    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).decode().rstrip("=")

    head = part(json.dumps({"alg": "HS256", "typ": "JWT", "kid": kid}).encode())
    body = part(json.dumps(claims).encode())
    return f"{head}.{body}.{part(hmac.digest(secret, f'{head}.{body}'.encode(), hashlib.sha256))}"
