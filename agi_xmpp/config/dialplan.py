"""What Asterisk's own files call things by: devices, extensions, patterns and contexts."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from agi_xmpp.config.base import written
from agi_xmpp.quoting import SPECIAL_EXTENSIONS


def _no_bare_pattern(text: str) -> str:
    """``6XX`` without the underscore would be a number with letters in it, which nobody dials."""
    if re.fullmatch(r"[0-9*#+XNZ-]*[XNZ][0-9*#+XNZ-]*\.?|[0-9*#+-]+\.", text):
        raise ValueError(f"{text!r} is no pattern without an underscore in front: write '_{text}'")
    return text


#: Technologies as Asterisk writes them in the names of channels; in a dialplan any case will do.
_TECHNOLOGIES = ("PJSIP", "SIP", "IAX2", "DAHDI", "SCCP", "Local", "Mobile", "Motif", "Skinny")


def _as_asterisk_writes_it(device: str) -> str:
    """Return ``pjsip/101`` as ``PJSIP/101``: events and states of devices bear that name."""
    technology, slash, rest = device.partition("/")
    written = next((name for name in _TECHNOLOGIES if name.casefold() == technology.casefold()), technology)
    return f"{written}{slash}{rest}"


#: A device as Asterisk writes it in dialplans and in front of a channel's number: ``PJSIP/101``.
Device = Annotated[
    str,
    written(
        r"(?=.{1,80}$)[A-Za-z][A-Za-z0-9]*/[^\s,;&|/()\x00-\x1f]+",
        "is no device: write it as Dial() has it, such as 'PJSIP/101'",
    ),
    AfterValidator(_as_asterisk_writes_it),
]

#: What can be dialled as it stands, or nothing: these characters and no others reach Asterisk.
Extension = Annotated[
    str,
    written(
        r"[0-9A-Za-z*#+._-]{0,64}",
        "is no extension: it may hold digits, letters and * # + . _ -, 64 of them at the most",
    ),
]


def why_not_dialled(number: str) -> str:
    """Return why nobody could dial a number; "" if they can."""
    if not re.fullmatch(r"[0-9A-Za-z*#+.-][0-9A-Za-z*#+._-]{0,63}", number):
        return "it is no extension"
    if re.search(r"[.-]", number) and not re.search(r"[A-Za-z]", number):
        # People put dots and hyphens between digits for the eye, and they are taken away before dialling.
        return "no dot or hyphen among digits"
    return "Asterisk enters it by itself" if number in SPECIAL_EXTENSIONS else ""


#: A context of extensions.conf.
Context = Annotated[str, written(r"[0-9A-Za-z._-]{1,79}", "is no context of the dialplan, such as 'internal'")]

#: A pattern of numbers as in extensions.conf: ``_NXX``, ``_+49X.``, ``_[1-5]XX``, or a number without the underscore.
#: Asterisk does not look at what stands behind ``.`` or ``!``: whoever writes it expects less than would be allowed.
DialPattern = Annotated[
    str,
    written(
        r"(?=.{1,80}$)(_(([0-9A-Za-z*#+-]|\[[0-9A-Za-z*#+-]+\])+[.!]?|[.!])|[0-9A-Za-z*#+.-][0-9A-Za-z*#+._-]*)",
        "is no pattern as in extensions.conf, such as '_NXXXXXX' or '_0[1-9]X.', and no number",
    ),
    AfterValidator(_no_bare_pattern),
]
