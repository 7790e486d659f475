"""Fallback indication (XEP-0428): which part of a body is there for clients that do not know a protocol."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import aioxmpp
from aioxmpp import xso

NAMESPACE = "urn:xmpp:fallback:0"


class Body(xso.XSO):  # type: ignore[misc]
    """A range of the body, in code points; without ``start`` and ``end`` the whole of it."""

    TAG = (NAMESPACE, "body")
    start = xso.Attr("start", type_=xso.Integer(), default=None)
    end = xso.Attr("end", type_=xso.Integer(), default=None)


class Fallback(xso.XSO):  # type: ignore[misc]
    """The ranges that are there for the protocol ``for``."""

    TAG = (NAMESPACE, "fallback")
    UNKNOWN_CHILD_POLICY = xso.UnknownChildPolicy.DROP
    for_ = xso.Attr("for", default=None)
    bodies = xso.ChildList([Body])

    def __init__(self, for_: str) -> None:
        super().__init__()
        self.for_ = for_


aioxmpp.Message.xep0428_fallbacks = xso.ChildList([Fallback])


def without_fallback(body: str, fallbacks: Iterable[Any], protocols: Collection[str]) -> str:
    """Return what somebody wrote: ``body`` without the parts that are there for ``protocols``.

    Ranges that make no sense are left in: rather too much than an answer cut in pieces.
    """
    cut: list[tuple[int, int]] = []
    for fallback in fallbacks:
        if fallback.for_ not in protocols:
            continue
        for part in fallback.bodies:
            start = 0 if part.start is None else part.start
            end = len(body) if part.end is None else part.end
            if 0 <= start <= end <= len(body):
                cut.append((start, end))
        if not fallback.bodies:
            return ""
    # Each character is looked at once, however many ranges there are: thousands of long ones fit into a stanza.
    kept, place = [], 0
    for start, end in sorted(cut):
        if place < start:
            kept.append(body[place:start])
        place = max(place, end)
    return "".join([*kept, body[place:]])
