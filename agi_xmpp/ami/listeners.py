"""Several features that listen to one manager connection."""

from __future__ import annotations

import logging

from agi_xmpp.ami.model import AmiListener, Message

log = logging.getLogger("agi_xmpp.ami")


class Listeners:
    """Passes on what happens, in the order in which they came; what one raises does not keep it from the others."""

    def __init__(self) -> None:
        self._listeners: list[AmiListener] = []

    def add(self, listener: AmiListener) -> None:
        """Tell ``listener``, too, from now on."""
        self._listeners.append(listener)

    def remove(self, listener: AmiListener) -> None:
        """Tell ``listener`` no more."""
        self._listeners.remove(listener)

    def ami_connected(self) -> None:
        """See `AmiListener.ami_connected`."""
        for listener in list(self._listeners):
            try:
                listener.ami_connected()
            except Exception:
                log.exception("a feature failed at the beginning of the manager connection; the others go on")

    def ami_event(self, event: Message) -> None:
        """See `AmiListener.ami_event`."""
        for listener in list(self._listeners):
            try:
                listener.ami_event(event)
            except Exception:
                log.exception("a feature failed at the event %s; the others go on", event.get("Event"))

    def ami_disconnected(self) -> None:
        """See `AmiListener.ami_disconnected`."""
        for listener in list(self._listeners):
            try:
                listener.ami_disconnected()
            except Exception:
                log.exception("a feature failed at the end of the manager connection; the others go on")
