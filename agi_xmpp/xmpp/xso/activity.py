"""User activity (XEP-0108), as far as a telephone knows it: on the phone, or nothing in particular."""

from __future__ import annotations

import aioxmpp.pubsub.xso
from aioxmpp import xso

NAMESPACE = "http://jabber.org/protocol/activity"


class Talking(xso.XSO):  # type: ignore[misc]
    """The general activity."""

    TAG = (NAMESPACE, "talking")
    on_the_phone = xso.ChildFlag((NAMESPACE, "on_the_phone"))


@aioxmpp.pubsub.xso.as_payload_class
class Activity(xso.XSO):  # type: ignore[misc]
    """What somebody does; empty: nothing that is told (section 2.2.1)."""

    TAG = (NAMESPACE, "activity")
    talking = xso.Child([Talking])
    text = xso.ChildText((NAMESPACE, "text"), default=None)


def on_the_phone(text: str | None) -> Activity:
    """Return the activity of somebody on the phone, with a text for people; None ends it."""
    activity = Activity()
    if text is not None:
        activity.talking = Talking()
        activity.talking.on_the_phone = True
        activity.text = text or None
    return activity
