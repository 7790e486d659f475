"""SIP messages to bytes and back (RFC 3261 section 7), by the library sipmessage. Pure.

What stands here is what that library leaves to its user: folded lines, a blank before the colon, the length of the
body, names that are no UTF-8, its quadratic time for hostile addresses, and line breaks in what we send.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sipmessage import URI, Address, CSeq, Message, Parameters, Request, Response, Via

#: Bytes of all headers, and their number; Asterisk sends some twenty, together a kilobyte.
MAX_HEADERS_BYTES: Final = 16_384
MAX_HEADERS: Final = 100
#: Longest header that the library gets to read as an address: its patterns take time by the square of the length
#: (2 s for 40 kB of quotes, 5 ms for this).
MAX_ADDRESS: Final = 2048

#: RFC 3261 section 8.1.1.7: begins each branch of today's rules.
BRANCH_COOKIE: Final = "z9hG4bK"

#: Reason phrases of the responses that we give.
REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    415: "Unsupported Media Type",
    420: "Bad Extension",
    422: "Session Interval Too Small",
    481: "Call/Transaction Does Not Exist",
    488: "Not Acceptable Here",
    491: "Request Pending",
    500: "Server Internal Error",
    501: "Not Implemented",
}

_FOLD = re.compile(r"\r\n[ \t]+")
_BLANK_BEFORE_COLON = re.compile(r"^([^\s:]+)[ \t]+:")
_BREAK = re.compile("[\r\n\0]")
_NEEDED = ("Via", "From", "To", "Call-ID", "CSeq")


class BadMessage(ValueError):
    """A datagram is no SIP message that we could answer."""


@dataclass(frozen=True, slots=True)
class Party:
    """Who a message is from or to, as far as it matters in a dialog.

    Attributes:
        name: display name, "" if none.
        tag: "" if none.
    """

    name: str
    tag: str


@dataclass(frozen=True, slots=True)
class Place:
    """An IP address and a UDP port."""

    host: str
    port: int

    @property
    def uri_host(self) -> str:
        """The address as it stands in a URI: IPv6 in brackets."""
        return f"[{self.host}]" if ":" in self.host else self.host

    def __str__(self) -> str:
        return f"{self.uri_host}:{self.port}"

    def uri(self, user: str | None = None) -> URI:
        """Return the SIP URI of somebody, or of nobody in particular, at this place."""
        return URI("sip", self.uri_host, user=user, port=self.port)


def parse(data: bytes) -> Request | Response:
    """Return the message in a datagram; all that `transactions` needs of it is there and makes sense.

    Raises:
        BadMessage: it is none; it deserves no answer.
    """
    head, separator, body = data.partition(b"\r\n\r\n")
    if not separator or len(head) > MAX_HEADERS_BYTES:
        raise BadMessage("no end of the headers")
    # A phone's name may be in any character set, and Asterisk hands it on: such a message must be answered, too.
    lines = _FOLD.sub(" ", head.decode("utf-8", "replace")).split("\r\n")
    lines = [lines[0], *(_BLANK_BEFORE_COLON.sub(r"\1:", line) for line in lines[1:] if ":" in line)]
    if len(lines) > MAX_HEADERS:
        raise BadMessage("too many headers")
    try:
        message = Message.parse("\r\n".join([*(_BREAK.sub(" ", line) for line in lines), "", ""]).encode())
        _check(message)
        length = message.content_length
    except (ValueError, TypeError, KeyError, AssertionError) as error:  # the library's patterns, and its constructors
        raise BadMessage(f"{type(error).__name__}: {error}") from None
    if length is not None and not 0 <= length <= len(body):
        raise BadMessage("the body is cut")
    message.body = body[:length]
    return message


def encode(message: Request | Response) -> bytes:
    """Return the datagram of a message; its Content-Length is set.

    Raises:
        ValueError: a header holds a line break; nothing may be sent.
    """
    message.headers.set("Content-Length", str(len(message.body)))
    first = message.phrase if isinstance(message, Response) else f"{message.method} {message.uri}"
    values = (value for key in message.headers.keys() for value in (key, *message.headers.getlist(key)))  # noqa: SIM118 - no mapping
    if any(_BREAK.search(text) for text in (first, *values)):
        raise ValueError("a header of a SIP message would hold a line break")
    return bytes(message)


def party(message: Message, header: str) -> Party:
    """Return who ``From`` or ``To`` names. The address itself says nothing that we go by."""
    value = message.headers.get(header, "") or ""
    # What follows the last bracket are the parameters: the tag is found also where the rest is too long, or has a
    # host that the library does not read (``pbx1``).
    for text in (value if len(value) <= MAX_ADDRESS else "", f"<sip:invalid>{value.rpartition('>')[2][-MAX_ADDRESS:]}"):
        try:
            address = Address.parse(text)
        except (ValueError, TypeError):
            continue
        return Party(address.name, address.parameters.get("tag") or "")
    return Party("", "")


def addresses(message: Message, header: str) -> list[Address]:
    """Return the addresses of ``Contact`` or ``Record-Route``; none where one of them cannot be read."""
    values = message.headers.getlist(header)
    if any(len(value) > MAX_ADDRESS for value in values):
        return []
    try:
        return [address for value in values for address in Address.parse_many(value)]
    except (ValueError, TypeError):
        return []


def tokens(message: Message, header: str) -> list[str]:
    """Return the words of a header such as ``Require``, in lower case."""
    values = ",".join(message.headers.getlist(header)).split(",")
    return [value.strip().casefold() for value in values if value.strip()]


def allows(response: Response, method: str) -> bool:
    """Tell whether whoever answers takes requests of a kind (``Allow``, RFC 3261 section 20.5); without a word, yes."""
    allowed = tokens(response, "Allow")
    return not allowed or method.casefold() in allowed


def branch(message: Message) -> str:
    """Return the branch of the topmost Via; "" if it has none (RFC 2543)."""
    return message.via[0].parameters.get("branch") or ""


def via(place: Place, branch: str) -> str:
    """Return our Via. Answers come to where the request came from (RFC 3581), whatever stands between."""
    return str(Via("UDP", place.uri_host, place.port, Parameters(rport=None, branch=branch)))


def response(request: Request, code: int, *, tag: str = "", headers: Iterable[tuple[str, str]] = ()) -> Response:
    """Return an answer to a request (RFC 3261 section 8.2.6).

    Args:
        request: what it answers.
        code: one of `REASONS`.
        tag: of ours in ``To``, where the request has none yet.
        headers: further ones.
    """
    answer = Response(code, REASONS[code])
    for name in ("Via", "From", "To", "Call-ID", "CSeq", *(["Record-Route"] if code < 300 else [])):
        if values := request.headers.getlist(name):
            answer.headers.setlist(name, list(values))
    if tag and not party(request, "To").tag:
        answer.headers.set("To", f"{answer.headers['To']};tag={tag}")
    for name, value in headers:
        answer.headers.set(name, value)
    return answer


def _check(message: Request | Response) -> None:
    for name in _NEEDED:
        if not message.headers.get(name):
            raise BadMessage(f"no {name}")
    if len(message.headers["Via"]) > MAX_ADDRESS:
        raise BadMessage("the Via is too long")
    cseq: CSeq = message.cseq
    if isinstance(message, Request) and cseq.method != message.method:
        raise BadMessage("CSeq is of another method")
    if not 0 <= cseq.sequence < 2**32:  # RFC 3261 section 8.1.1.5
        raise BadMessage("CSeq is too high")
    if isinstance(message, Response) and not 100 <= message.code <= 699:
        raise BadMessage("no such code")
    if not message.via:
        raise BadMessage("no Via")
