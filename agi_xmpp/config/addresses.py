"""Addresses of XMPP as they stand in the file (RFC 6122).

They are looked at for plain mistakes only: what a server makes of them is seen at login.
"""

from __future__ import annotations

import unicodedata
from typing import Annotated

from pydantic import AfterValidator

from agi_xmpp.config.base import written

_LOCAL = r"[^\s@/]+@"
_DOMAIN = r"[^\s@/*]+"
_RESOURCE = r"(/.+)?"


def _as_addresses_have_it(local: str) -> str:
    written_right = unicodedata.normalize("NFKC", local.casefold())
    if local != written_right:
        raise ValueError(f"{local!r} must be written as addresses have it: {written_right!r}")
    return local


#: What stands in front of an ``@``, as servers compare it (Nodeprep, RFC 6122 appendix A).
LocalPart = Annotated[
    str,
    written(r"""[^\s\x00-\x20\x7f"&'/:<>@]{1,255}""", "is not the part of an address before the @, such as 'balcony'"),
    AfterValidator(_as_addresses_have_it),
]

#: Somebody's address, with a resource or without.
Jid = Annotated[str, written(_LOCAL + _DOMAIN + _RESOURCE, "is not a Jabber ID such as alice@example.org")]

#: Somebody's address without a resource.
BareJid = Annotated[str, written(_LOCAL + _DOMAIN, "is not a bare Jabber ID such as alice@example.org")]

#: A person, or everybody of a domain.
JidOrDomain = Annotated[
    str, written(f"({_LOCAL})?{_DOMAIN}", "is neither a bare Jabber ID such as alice@example.org nor a domain")
]

#: A person, or a service.
AnyJid = Annotated[
    str, written(f"({_LOCAL})?{_DOMAIN}{_RESOURCE}", "is neither a Jabber ID such as alice@example.org nor a domain")
]

#: A room (XEP-0045).
RoomJid = Annotated[str, written(_LOCAL + _DOMAIN, "is not a room such as team@rooms.example.org")]
