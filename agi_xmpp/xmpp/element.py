"""Stanzas as they stand: a tree from the events of the stream's parser, and bytes for the stream from a tree. Pure.

A tree is an `Element` of the standard library. A stanza's own namespace in it is ``jabber:client``. On a component's
stream it is ``jabber:component:accept`` (XEP-0114), the default namespace, which no stanza names: what is in a stanza's
own namespace is written without one. A stanza inside another, such as a forwarded message (XEP-0297), is of
``jabber:client`` there, too, and says so.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from xml.etree.ElementTree import Element, TreeBuilder
from xml.sax.saxutils import escape

from agi_xmpp.xmpp.text import FORBIDDEN

CLIENT = "jabber:client"
COMPONENT = "jabber:component:accept"

#: Levels of a stanza. Nobody needs more than twenty; whoever walks a tree by recursion is safe with these.
DEPTH_LIMIT = 200

XML = "http://www.w3.org/XML/1998/namespace"
_XMLNS = "http://www.w3.org/2000/xmlns/"

#: Characters of a name that is kept for the next time: strangers' shall not fill the memory.
_SHORT = 200

#: Namespace, None for none, and local part.
Name = tuple[str | None, str]

# A carriage return would arrive as a line feed, and in an attribute each of the three as a space (XML 1.0 sections 2.11
# and 3.3.3).
_IN_TEXT = {"\r": "&#13;"}
_IN_ATTRIBUTE = {"\r": "&#13;", "\t": "&#9;", "\n": "&#10;", '"': "&quot;"}

# The characters of a URI (RFC 3986 section 2). A parser refuses a namespace that holds the character that it joins
# namespace and name by: expat's users have taken spaces, braces, line ends and bars for that.
_URI = re.compile(r"[-\w.~:/?#\[\]@!$&'()*+,;=%]*", re.ASCII)

# A name without a colon (Namespaces in XML 1.0 section 3).
_NAME_START = (
    "A-Z_a-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02ff\u0370-\u037d\u037f-\u1fff\u200c\u200d\u2070-\u218f\u2c00-\u2fef"
    "\u3001-\ud7ff\uf900-\ufdcf\ufdf0-\ufffd\U00010000-\U000effff"
)
_NAME = re.compile(f"[{_NAME_START}][-.0-9\u00b7\u0300-\u036f\u203f\u2040{_NAME_START}]*")


def renamed(name: Name) -> Name:
    """Return a name of a component's stream as a client would see it."""
    return (CLIENT, name[1]) if name[0] == COMPONENT else name


class Builder:
    """Makes one stanza's tree of the parser's events (SAX with namespaces).

    Attributes:
        stanza: the tree, after the end of its outermost element; None before that, and if it has a fault.
        fault: why nobody shall get it, or "". Nothing is kept of it then.
    """

    def __init__(self) -> None:
        self.stanza: Element | None = None
        self.fault = ""
        self._tree = TreeBuilder()
        self._depth = 0

    def start(self, name: Name, attributes: Iterable[tuple[Name, str]]) -> None:
        """An element begins."""
        self._depth += 1
        if self.fault:
            return
        kept = dict(attributes)
        self.fault = self._fault(name, kept)
        if self.fault:
            self._tree = TreeBuilder()
        else:
            self._tree.start(_tag(renamed(name)), {_tag(key): value for key, value in kept.items()})

    def text(self, text: str) -> None:
        """A piece of text."""
        if not self.fault:
            self._tree.data(text)

    def end(self, name: Name) -> bool:
        """An element ends. Returns True if it is the outermost one."""
        self._depth -= 1
        if not self.fault:
            self._tree.end(_tag(renamed(name)))
            if self._depth == 0:
                self.stanza = self._tree.close()
        return self._depth == 0

    def _fault(self, name: Name, attributes: Iterable[Name]) -> str:
        if self._depth > DEPTH_LIMIT:
            return f"it has more than {DEPTH_LIMIT} levels"
        if all(map(_is_common, (name, *attributes))):
            return ""
        return "it has a name that would end the connections of those whom it is sent on to"


def _is_common(name: Name) -> bool:
    """Return True for a name that every parser takes, and every server writes so that it does."""
    namespace, local = name
    if namespace == XML:
        return local == "lang"
    if namespace is not None and (namespace == _XMLNS or not _URI.fullmatch(namespace)):
        return False
    return _NAME.fullmatch(local) is not None


def _tag(name: Name) -> str:
    return f"{{{name[0]}}}{name[1]}" if name[0] else name[1]


def serialise(stanza: Element) -> bytes:
    """Return a stanza as it goes over a component's stream.

    Elements carry no prefixes, as some clients know none: where the namespace changes there is a new default one.

    Raises:
        ValueError: it holds a character that XML cannot carry, or a name that some parser would not take.
    """
    out: list[str] = []
    #: Of each open element: those children that are still to come, the default namespace for them, and its end.
    stack: list[tuple[Iterator[Element], str, str]] = []
    children, outer, end = iter((stanza,)), CLIENT, ""
    while True:
        element = next(children, None)
        if element is None:
            out.append(end)
            if not stack:
                return "".join(out).encode()
            children, outer, end = stack.pop()
            continue
        inner, name = _split(element.tag)
        declaration = "" if inner == outer else f' xmlns="{_value(inner)}"'
        tail = "" if element is stanza else _text(element.tail)
        out.append(f"<{name}{declaration}{_attributes(element)}")
        if element.text or len(element):
            out.append(f">{_text(element.text)}")
            stack.append((children, outer, end))
            children, outer, end = iter(element), inner, f"</{name}>{tail}"
        else:
            out.append(f"/>{tail}")


def _attributes(element: Element) -> str:
    """Return an element's attributes; those of a namespace other than XML's own have a prefix declared beside them."""
    if not element.attrib:
        return ""
    out: list[str] = []
    prefixes = {"": "", XML: "xml:"}
    for key, value in element.attrib.items():
        namespace, name = _split(key)
        if namespace not in prefixes:
            prefix = f"a{len(prefixes) - 1}"
            prefixes[namespace] = f"{prefix}:"
            out.append(f' xmlns:{prefix}="{_value(namespace)}"')
        out.append(f' {prefixes[namespace]}{name}="{_value(value)}"')
    return "".join(out)


def _split(tag: object) -> tuple[str, str]:
    """Return the namespace and local part of a name; most are the same few, and a room writes a message many times.

    Raises:
        ValueError: see `_split_anew`.
    """
    text = str(tag)
    return _split_again(text) if len(text) <= _SHORT else _split_anew(text)


def _split_anew(tag: str) -> tuple[str, str]:
    """Return the namespace, "" for none, and the local part of an element's or attribute's name.

    Raises:
        ValueError: it is none, or a comment or processing instruction, which have no place in XMPP.
    """
    namespace, brace, name = tag.rpartition("}")
    right = namespace.startswith("{") and len(namespace) > 1 if brace else name != "xmlns"
    if not right or not _is_common((namespace[1:] or None, name)):
        raise ValueError("a stanza holds a name that cannot be sent")
    return namespace[1:], name


_split_again = functools.lru_cache(1024)(_split_anew)


def _text(text: str | None) -> str:
    return escape(_checked(text), _IN_TEXT) if text else ""


def _value(text: str) -> str:
    return escape(_checked(text), _IN_ATTRIBUTE)


def _checked(text: str) -> str:
    if match := FORBIDDEN.search(text):
        raise ValueError(f"a stanza holds the character U+{ord(match.group()):04X}, which XMPP cannot carry")
    return text
