"""The text of the lists that administrators keep in files. Pure: no I/O."""

from __future__ import annotations

from agi_xmpp.errors import AgiXmppError


def decode(data: bytes, error: type[AgiXmppError]) -> str:
    """Return the text of a file: UTF-8, with or without the mark that Windows puts before it.

    Args:
        data: what is in the file.
        error: raised if it is something else; the text names the line.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        line = data.count(b"\n", 0, wrong.start) + 1
        raise error(f"line {line}: not UTF-8 text; save it as UTF-8") from None
