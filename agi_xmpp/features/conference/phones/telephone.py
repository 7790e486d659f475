"""What a phone answers to a request (iq) of chat. Pure."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from agi_xmpp.features.conference import stanzas

#: What is said to all other requests, with ``service-unavailable``.
REFUSAL = "This is a telephone."


def info(request: Element, name: str) -> Element | None:
    """Return the answer to the question what somebody is (XEP-0030 section 3); None to another one.

    Args:
        request: the iq.
        name: of the phone.
    """
    query = stanzas.child(request, stanzas.DISCO_INFO, "query")
    if request.get("type") != "get" or query is None or query.get("node"):
        return None
    answer = Element(query.tag)
    stanzas.add(answer, stanzas.DISCO_INFO, "identity", category="client", type="phone", name=name)
    stanzas.add(answer, stanzas.DISCO_INFO, "feature", var=stanzas.DISCO_INFO)
    return stanzas.result(request, answer)


def answer(request: Element, name: str) -> Element | None:
    """Return the answer to any request; None to what is none. A ping (XEP-0199) is answered: the phone is there.

    Args:
        request: the iq.
        name: of the phone.
    """
    if request.get("type") not in ("get", "set"):
        return None
    if stanzas.child(request, stanzas.PING, "ping") is not None:
        return stanzas.result(request)
    told = info(request, name)
    return told if told is not None else stanzas.error(request, "service-unavailable", REFUSAL)
