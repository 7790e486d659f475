"""How much one person may ask for: whoever could ask for every number would have a list of who owns which. Pure."""

from __future__ import annotations

from collections.abc import Callable

from agi_xmpp.config import ContactsSettings
from agi_xmpp.errors import Refused
from agi_xmpp.features.quota import Quota
from agi_xmpp.xmpp.model import Jid


class Limits:
    """The limits of contact discovery.

    Args:
        settings: ``[contacts]``.
        clock: seconds, monotonic.
    """

    def __init__(self, settings: ContactsSettings, clock: Callable[[], float]) -> None:
        self._each = settings.max_addresses
        self._requests = Quota(settings.requests, 60.0, clock)
        self._addresses = (
            ("an hour", settings.hourly, Quota(settings.hourly, 3600.0, clock)),
            ("a day", settings.daily, Quota(settings.daily, 86_400.0, clock)),
        )

    def check_size(self, addresses: int) -> None:
        """Look at one request.

        Raises:
            Refused: ``resource-constraint``: it asks for too many addresses.
        """
        if addresses > self._each:
            raise _too_much(f"more than {self._each} addresses in one request; ask for them in several")

    def spend(self, who: Jid, addresses: int) -> None:
        """Count a request of a person, whatever the resource. What is refused does not count.

        Raises:
            Refused: ``resource-constraint``: it is too much; the text says which limit.
        """
        self.check_size(addresses)
        person = who.bare
        if not self._requests.allows(person, 1):
            raise _too_much("too many requests within a minute; try again later")
        for period, limit, quota in self._addresses:
            if not quota.allows(person, addresses):
                raise _too_much(f"more than {limit} addresses within {period}; try again later")
        self._requests.spend(person, 1)
        for _period, _limit, quota in self._addresses:
            quota.spend(person, addresses)


def _too_much(text: str) -> Refused:
    return Refused(text, "resource-constraint")
