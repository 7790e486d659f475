"""Login by an access token: the SASL mechanism OAUTHBEARER (RFC 7628), which aiosasl does not have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

import aiosasl
from aiosasl import SASLState

MECHANISM = "OAUTHBEARER"

#: What a client says to the server's reasons, so that the failure follows (RFC 7628 section 3.2.3).
_GO_ON = b"\x01"

#: What a value of a pair may hold, without line breaks (RFC 7628 section 3.1).
_VALUE = re.compile(r"[\x20-\x7e]+")

#: Characters of the server's reasons that are worth a log line.
_REASON_LIMIT = 200


class TokenRefused(aiosasl.AuthenticationFailure):  # type: ignore[misc]  # the library has no types
    """The server does not take the token: another one may do.

    Attributes:
        opaque_error: the condition of RFC 6120 section 6.5.
        text: the server's reasons in one line; the condition, if it gave none.
    """


def first_message(jid: str, token: str) -> bytes:
    """Return what the client says first (RFC 7628 section 3.1).

    Args:
        jid: our bare JID.
        token: printable ASCII.

    Raises:
        ValueError: the token holds something else. It is not repeated.
    """
    if not _VALUE.fullmatch(token):
        raise ValueError("the token holds a character that no token may hold (RFC 7628 section 3.1)")
    name = jid.replace("=", "=3D").replace(",", "=2C")  # saslname (RFC 5801 section 4)
    return f"n,a={name},\x01auth=Bearer {token}\x01\x01".encode()


def reasons(challenge: bytes | None, token: str) -> str:
    """Return in one line why the server refuses a token, "" if it does not say (RFC 7628 section 3.2.2).

    Args:
        challenge: what the server says: a JSON object with ``status`` and perhaps ``scope``.
        token: taken out, should the server repeat it.
    """
    try:
        found = json.loads(challenge or b"")
    except (ValueError, RecursionError):  # no JSON, no UTF-8, or nested without end
        return ""
    if not isinstance(found, dict):
        return ""
    status, scope = (_one_line(found.get(key), token) for key in ("status", "scope"))
    return f"{status}; it asks for the scope {scope}" if status and scope else status


def _one_line(value: object, token: str) -> str:
    if not isinstance(value, str):
        return ""
    shown = value.replace(token, "(hidden)")[:_REASON_LIMIT]
    return "".join(character if character.isprintable() else "?" for character in shown)


class OAuthBearer(aiosasl.SASLMechanism):  # type: ignore[misc]
    """The mechanism as aiosasl has its own. To be used on encrypted connections only: it sends the token itself.

    Args:
        jid: our bare JID.
        token: printable ASCII.
    """

    def __init__(self, jid: str, token: str) -> None:
        super().__init__()
        self._jid = jid
        self._token = token

    @classmethod
    def any_supported(cls, mechanisms: Iterable[str]) -> str | None:
        """Return our name if the server offers us."""
        return MECHANISM if MECHANISM in mechanisms else None

    async def authenticate(self, sm: aiosasl.SASLStateMachine, mechanism: str) -> None:
        """Log in.

        Raises:
            TokenRefused: the server does not take the token.
            aiosasl.SASLFailure: it refuses us for another reason, or breaks the rules.
            ValueError: see `first_message`.
        """
        try:
            state, challenge = await sm.initiate(mechanism, first_message(self._jid, self._token))
        except aiosasl.SASLFailure as failure:
            raise _refusal(failure, "") from None
        if state is SASLState.SUCCESS:
            return
        try:
            await sm.response(_GO_ON)
        except aiosasl.SASLFailure as failure:
            raise _refusal(failure, reasons(challenge, self._token)) from None
        raise aiosasl.SASLFailure(None, text="the server said why it refuses the token, and then did not refuse it")


def _refusal(failure: aiosasl.SASLFailure, said: str) -> aiosasl.SASLError:
    condition = failure.opaque_error
    if said or condition in ("not-authorized", "credentials-expired"):
        return TokenRefused(condition, text=said or condition)
    return failure
