"""The text of files: UTF-8, or a complaint that names the line."""

from __future__ import annotations

import pytest

from agi_xmpp.errors import ConfigError
from agi_xmpp.features.text_file import decode


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_utf_8_with_and_without_a_mark(mark: bytes) -> None:
    assert decode(mark + "Zoë\r\n".encode(), ConfigError) == "Zoë\r\n"


@pytest.mark.parametrize(("before", "line"), [(b"", 1), (b"a\n", 2), (b"a\r\nb\r\n", 3)])
def test_another_encoding_is_refused_with_the_line(before: bytes, line: int) -> None:
    with pytest.raises(ConfigError, match=rf"^line {line}: not UTF-8 text; save it as UTF-8$"):
        decode(before + "Zoë\n".encode("latin-1"), ConfigError)
