"""What Asterisk says about a call when it opens a FastAGI connection: the ``agi_…`` headers.

Asterisk writes one header a line and does not escape values (res_agi.c, ``setup_env``), so a newline in an argument
of the dialplan's ``AGI()`` forges lines. `parse` refuses what can be recognised as forged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from urllib.parse import unquote

from agi_xmpp.errors import AgiProtocolError

_HEADER = re.compile(r"(agi_[a-z0-9_]+): ?(.*)", re.DOTALL)
_ARGUMENT = re.compile(r"agi_arg_([1-9]\d{0,3})")


class Environment(Mapping[str, str]):
    """The headers by their names (``agi_channel``, …), and the usual ones as attributes.

    A header that Asterisk did not send reads as "". Bytes that are not UTF-8 are lone surrogates (PEP 383).
    """

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = dict(headers)

    def __getitem__(self, name: str) -> str:
        return self._headers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._headers)

    def __len__(self) -> int:
        return len(self._headers)

    def __repr__(self) -> str:
        return f"Environment({self._headers!r})"

    def _header(self, name: str) -> str:
        return self._headers.get(f"agi_{name}", "")

    @property
    def uniqueid(self) -> str:
        """Asterisk's id of the channel; `parse` has seen to it that there is one."""
        return self._header("uniqueid")

    @property
    def channel(self) -> str:
        """Name of the channel, such as ``PJSIP/alice-00000001``."""
        return self._header("channel")

    @property
    def version(self) -> str:
        """Asterisk's version, such as ``22.10.1``."""
        return self._header("version")

    @property
    def language(self) -> str:
        """The channel's language for prompts."""
        return self._header("language")

    @property
    def callerid(self) -> str:
        """Number of the caller, or ``unknown``."""
        return self._header("callerid")

    @property
    def callerid_name(self) -> str:
        """Name of the caller, or ``unknown``."""
        return self._header("calleridname")

    @property
    def withheld(self) -> bool:
        """Whether the caller withholds number and name: bits 6 and 7 of the presentation say so (ITU-T Q.931)."""
        presentation = self._header("callingpres")
        return presentation.isdecimal() and int(presentation) & 0x60 == 0x20

    @property
    def context(self) -> str:
        """Where the dialplan stands: context."""
        return self._header("context")

    @property
    def extension(self) -> str:
        """Where the dialplan stands: extension."""
        return self._header("extension")

    @property
    def priority(self) -> str:
        """Where the dialplan stands: priority."""
        return self._header("priority")

    @cached_property
    def script(self) -> str:
        """The path of the request, without its query and percent-decoded.

        A path whose decoded form could be taken for another place (dot segments, encoded slashes, control characters)
        is left encoded, so that it matches no route.
        """
        return _decoded_path(self._header("network_script").partition("?")[0])

    @cached_property
    def query_pairs(self) -> tuple[tuple[str, str], ...]:
        """The options behind the ``?``, decoded, in their order. ``+`` stays a plus: ``URIENCODE()`` writes ``%20``."""
        query = self._header("network_script").partition("?")[2]
        pairs = (option.partition("=") for option in query.split("&") if option)
        return tuple((_decoded(name), _decoded(value)) for name, _, value in pairs)

    @cached_property
    def query(self) -> dict[str, str]:
        """The options by name; of one that is given twice, the last."""
        return dict(self.query_pairs)

    @cached_property
    def args(self) -> tuple[str, ...]:
        """The arguments of the dialplan's ``AGI()`` behind the URL."""
        count = sum(1 for name in self._headers if _ARGUMENT.fullmatch(name))
        return tuple(self._headers[f"agi_arg_{number}"] for number in range(1, count + 1))


def parse(lines: list[str]) -> Environment:
    """Return the environment that ``lines`` say, refusing forged or incomplete ones.

    Raises:
        AgiProtocolError: a line is no header, a header comes twice, an argument is missing, or ``agi_uniqueid`` is.
    """
    headers: dict[str, str] = {}
    arguments: list[int] = []
    for number, line in enumerate(lines, start=1):
        match = _HEADER.fullmatch(line)
        if match is None:
            # Not shown: it is likely a piece of somebody's message.
            raise AgiProtocolError(f"line {number} of the environment is no header (a newline in an argument?)")
        name, value = match.groups()
        if name in headers:
            raise AgiProtocolError(f"the environment has {name} twice (a newline in an argument?)")
        if "\0" in value:
            raise AgiProtocolError(f"the environment has a NUL in {name}, which Asterisk cannot send")
        headers[name] = value
        if name.startswith("agi_arg_") and (argument := _ARGUMENT.fullmatch(name)):
            arguments.append(int(argument[1]))
    if not headers.get("agi_uniqueid"):
        raise AgiProtocolError("the environment has no agi_uniqueid")
    if sorted(arguments) != list(range(1, len(arguments) + 1)):
        raise AgiProtocolError("the environment's agi_arg_N are not numbered 1, 2, 3, …")
    return Environment(headers)


def _decoded(text: str) -> str:
    return unquote(text, errors="surrogateescape")


def _decoded_path(path: str) -> str:
    segments = [_decoded(segment) for segment in path.split("/")]
    ambiguous = any(segment in {".", ".."} or re.search(r"[/\\\x00-\x1f\x7f]", segment) for segment in segments)
    return path if ambiguous else "/".join(segments)
