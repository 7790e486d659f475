"""Digest authentication (RFC 3261 section 22, RFC 7616, RFC 8760): a challenge in, credentials out. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.request import parse_http_list

from sipmessage import AuthCredentials, AuthParameters, Request, Response

#: What RFC 8760 asks of everybody; Asterisk 22 offers MD5 unless its ``auth`` says otherwise.
ALGORITHMS: Final = {"MD5": "md5", "SHA-256": "sha256"}
#: The header of the challenge, and of its answer, by the code of the response.
_HEADERS: Final = {401: ("WWW-Authenticate", "Authorization"), 407: ("Proxy-Authenticate", "Proxy-Authorization")}
_MAX_HEADER: Final = 2048


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a server asks us to prove.

    Attributes:
        header: that the answer stands in.
        realm, nonce, opaque: as they came.
        algorithm: one of `ALGORITHMS`; ``named`` tells whether the server named it.
        qop: true if the answer counts its nonce (``qop="auth"``).
        stale: the nonce of our answer was too old; the password was right.
    """

    header: str
    realm: str
    nonce: str
    opaque: str | None
    algorithm: str
    named: bool
    qop: bool
    stale: bool


def read_challenge(response: Response) -> Challenge | None:
    """Return the first challenge of a 401 or 407 that we can answer (RFC 8760 section 2.4), None if there is none."""
    if response.code not in _HEADERS:
        return None
    header, answer = _HEADERS[response.code]
    for value in response.headers.getlist(header):
        scheme, _, rest = value.strip().partition(" ")
        if scheme.casefold() != "digest" or len(value) > _MAX_HEADER:
            continue
        fields = _fields(rest)
        algorithm = fields.get("algorithm", "MD5").upper()
        offered = [word.strip().casefold() for word in fields.get("qop", "").split(",") if word.strip()]
        if algorithm not in ALGORITHMS or "nonce" not in fields or (offered and "auth" not in offered):
            continue
        return Challenge(
            answer,
            fields.get("realm", ""),
            fields["nonce"],
            fields.get("opaque"),
            algorithm,
            "algorithm" in fields,
            bool(offered),
            fields.get("stale", "").casefold() == "true",
        )
    return None


class Digest:
    """Answers the challenges of one server; the last one also beforehand, so that it need not ask each time.

    Args:
        username: of the ``auth`` in pjsip.conf.
        password: "" if we have none: then no challenge can be answered.
        new_token: returns a random word each time.
    """

    def __init__(self, username: str, password: str, new_token: Callable[[], str]) -> None:
        self._username = username
        self._password = password
        self._new_token = new_token
        self._challenge: Challenge | None = None
        self._count = 0

    @property
    def has_password(self) -> bool:
        """True if challenges can be answered."""
        return bool(self._password)

    def learn(self, response: Response) -> Challenge | None:
        """Take the challenge of a response, and return it; None if it has none that we can answer."""
        challenge = read_challenge(response) if self._password else None
        if challenge is not None:
            self._challenge, self._count = challenge, 0
        return challenge

    def authorize(self, request: Request) -> None:
        """Put credentials into a request, if the server has ever asked for them."""
        challenge = self._challenge
        if challenge is None:
            return
        self._count += 1
        values = self._answer(challenge, request.method, str(request.uri))
        request.headers.set(challenge.header, str(AuthCredentials("Digest", AuthParameters(**values))))

    def _answer(self, challenge: Challenge, method: str, uri: str) -> dict[str, str]:
        def digest(*parts: str) -> str:
            text = ":".join(parts).encode()
            return hashlib.new(ALGORITHMS[challenge.algorithm], text, usedforsecurity=False).hexdigest()

        known = digest(self._username, challenge.realm, self._password)
        wanted = digest(method, uri)
        values = {"username": self._username, "realm": challenge.realm, "nonce": challenge.nonce, "uri": uri}
        if challenge.named:
            values["algorithm"] = challenge.algorithm
        if challenge.opaque is not None:
            values["opaque"] = challenge.opaque
        if challenge.qop:
            count, client = f"{self._count:08x}", self._new_token()
            values |= {"qop": "auth", "nc": count, "cnonce": client}
            values["response"] = digest(known, challenge.nonce, count, client, "auth", wanted)
        else:
            values["response"] = digest(known, challenge.nonce, wanted)
        return values


def _fields(text: str) -> dict[str, str]:
    """Return the parameters of a challenge. The library's own way breaks a realm with a comma in it."""
    fields: dict[str, str] = {}
    for item in parse_http_list(text):
        name, _, value = item.partition("=")
        value = value.strip()
        if len(value) >= 2 and value[0] == value[-1] == '"':
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        fields.setdefault(name.strip().casefold(), value)
    return fields
