"""A softphone that writes and reads beside its calls: baresip with its address book."""

from __future__ import annotations

from typing import Any

from tests.testbed.asterisk import Asterisk
from tests.testbed.phone import TIMEOUT, Phone
from tests.testbed.rootfs import RunDirectory


class Messenger(Phone):
    """A telephone that can write, see `Phone`: it sends MESSAGE outside of calls.

    Args:
        exchange: an Asterisk with an endpoint of this name that takes registrations without a password.
        number: name of the endpoint and its AOR.
        addressee: the number that it writes to: baresip 1.1 only writes to who stands in its address book.

    Attributes:
        texts: the bodies of all texts that it received, in order.
    """

    def __init__(self, exchange: Asterisk, number: str, addressee: str) -> None:
        super().__init__(exchange, number)
        self.texts: list[str] = []
        self._addressee = addressee
        self._unheard: list[str] = []

    async def write(self, text: str) -> None:
        """Send a text; return when baresip has been told."""
        await self._tell("message", text)

    async def hears(self, wanted: str, timeout: float = TIMEOUT) -> None:
        """Wait for a text; each counts once."""
        await self._until(f"hear {wanted!r}", lambda: wanted in self._unheard or None, timeout)
        self._unheard.remove(wanted)

    def _configure(self, directory: RunDirectory) -> None:
        super()._configure(directory)
        config = directory.outside / "config"
        config.write_text(config.read_text() + "module_app contact.so\n")
        address = f"sip:{self._addressee}@127.0.0.1:{self._exchange.sip_port}"
        directory.write("contacts", f'"The conference" <{address}>\n')

    def _take(self, event: dict[str, Any]) -> None:
        if event.get("message"):
            self.texts.append(event["body"])
            self._unheard.append(event["body"])
        super()._take(event)
