"""What all sections share."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

Host = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=r"^[^\s/@]+$")]
Port = Annotated[int, Field(ge=1, le=65535)]


class Section(BaseModel):
    """A section of the file: unknown keys are mistakes, and nothing changes once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, hide_input_in_errors=True)


def written(pattern: str, complaint: str) -> AfterValidator:
    """Return a check that says in words what is wrong with a text: a pattern alone tells an administrator nothing."""
    right = re.compile(pattern)

    def check(text: str) -> str:
        if not right.fullmatch(text):
            raise ValueError(f"{text if len(text) <= 80 else text[:79] + '…'!r} {complaint}")
        return text

    return AfterValidator(check)


#: A text that stands in one line.
OneLine = Annotated[str, written(r"[^\x00-\x1f\x7f]*", "holds a line break or another control character")]

Country = Annotated[str, written(r"([A-Z]{2})?", "is no country: two capital letters (ISO 3166), such as 'DE'")]


def is_loopback(host: str | None) -> bool:
    """Tell whether ``host`` is this machine, by address or by the name ``localhost`` (no name is looked up)."""
    if host is None:
        return False
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.casefold() == "localhost"


def demand_one_trust(ca_file: Path | None, accept_any_certificate: bool) -> None:
    """Refuse certificates to trust where none is looked at.

    Raises:
        ValueError: both are set.
    """
    if accept_any_certificate and ca_file is not None:
        raise ValueError("ca_file has no effect beside accept_any_certificate = true: take one of them away")
