"""Tokens of a load balancer: each check by itself makes a visitor anonymous, and keys are fetched once."""

from __future__ import annotations

import base64
import json
import time
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from flask import Flask, request

from cxg.access import ANONYMOUS, Visitor
from cxg.config import LoadBalancer
from cxg.errors import StorageUnavailable
from cxg.web.access.load_balancer import TokenReader

ARN = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/app/cells/50dc6c495c0c9188"
SETTINGS = LoadBalancer(signer=ARN, issuer="https://login.example.org", client="cells")
KEY, OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
PUBLIC = KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
CLAIMS = {"sub": "ada", "email": "a@x.org", "groups": ["lab-a", 5]}
ADA = Visitor("ada", "a@x.org", frozenset({"lab-a"}))


def header(**more: Any) -> dict[str, Any]:
    soon = int(time.time()) + 60
    return {"kid": "k-1", "signer": ARN, "iss": SETTINGS.issuer, "client": "cells", "exp": soon} | more


def token(claims: dict[str, Any], key: Any = KEY, algorithm: str = "ES256", **more: Any) -> str:
    return jwt.encode(claims, key, algorithm, header(**more))


def padded(claims: dict[str, Any]) -> str:
    """A token as load balancers write it, with the padding of base64."""
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode()
        for part in (header(alg="ES256", typ="JWT"), claims)
    ]
    signature = jwt.get_algorithm_by_name("ES256").sign(".".join(parts).encode(), KEY)
    return ".".join((*parts, base64.urlsafe_b64encode(signature).decode()))


class Keys:
    """A key endpoint that notes what it is asked."""

    def __init__(self, answer: Any = PUBLIC) -> None:
        self.answer, self.asked = answer, []

    def __call__(self, url: str) -> bytes | None:
        self.asked.append(url)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def identify(reader: TokenReader, text: str) -> Visitor:
    with Flask("test").test_request_context(headers={"X-Amzn-Oidc-Data": text}):
        return reader.identify(request)


def test_a_sound_token_names_its_user_and_the_key_is_fetched_once() -> None:
    keys = Keys()
    reader = TokenReader(SETTINGS, keys)
    for text in (token(CLAIMS), padded(CLAIMS), padded({**CLAIMS, "name": "Ada L."})):
        assert identify(reader, text) == ADA
    assert keys.asked == ["https://public-keys.auth.elb.eu-central-1.amazonaws.com/k-1"]


FORGED = {
    "none": "",
    "no token": "a.b",
    "other key": token(CLAIMS, OTHER),
    "other signer": token(CLAIMS, signer=ARN + "0"),
    "other issuer": token(CLAIMS, iss="https://evil.example.org"),
    "other issuer of the claims": token({**CLAIMS, "iss": "https://evil.example.org"}),
    "other client": token(CLAIMS, client="other"),
    "expired": token(CLAIMS, exp=int(time.time()) - 1),
    "claims expired": token({**CLAIMS, "exp": int(time.time()) - 1}),
    "endless": token(CLAIMS, exp=None),
    "no algorithm": token(CLAIMS, None, "none"),
    "secret of the public key": token(CLAIMS, "x" * 32, "HS256"),
    "path as key name": token(CLAIMS, kid="../x"),
    "no user": token({"email": "a@x.org"}),
    "cut": token(CLAIMS)[:-4],
    "too long": "a" * 20_000,
}


@pytest.mark.parametrize("forgery", FORGED)
def test_any_other_token_is_nobodys(forgery: str) -> None:
    assert identify(TokenReader(SETTINGS, Keys()), FORGED[forgery]) == ANONYMOUS


@pytest.mark.parametrize("said,email", [(True, "a@x.org"), ("true", "a@x.org"), (False, None), ("false", None)])
def test_an_address_must_be_verified(said: object, email: str | None) -> None:
    assert identify(TokenReader(SETTINGS, Keys()), token({**CLAIMS, "email_verified": said})).email == email


def test_keys_that_are_not_there_are_not_asked_for_again_and_again() -> None:
    time_s, keys = SimpleNamespace(now=0.0), Keys(None)
    reader = TokenReader(SETTINGS, keys, lambda: time_s.now)
    assert identify(reader, token(CLAIMS)) == identify(reader, token(CLAIMS)) == ANONYMOUS
    with pytest.raises(StorageUnavailable):
        identify(reader, token(CLAIMS, kid="k-2"))
    assert len(keys.asked) == 1
    time_s.now, keys.answer = 1.0, OSError("away")
    with pytest.raises(StorageUnavailable):
        identify(reader, token(CLAIMS, kid="k-2"))
    time_s.now, keys.answer = 2.0, PUBLIC
    assert identify(reader, token(CLAIMS, kid="k-2")) == ADA
