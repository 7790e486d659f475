"""Whether a phone can be reached, from Asterisk's device states. Pure: no I/O.

Not whether somebody talks: with several channels a PJSIP device's state is wrong at times (asterisk/asterisk #1181);
`agi_xmpp.ami.calls` knows better.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

#: States of a device that no call reaches: not registered, or not known to Asterisk.
_OUT_OF_REACH = frozenset({"UNAVAILABLE", "INVALID"})


class Devices:
    """The states of the devices in the user map; those of others are not kept.

    Args:
        is_ours: tells whether a device (``PJSIP/101``) is in the user map.
    """

    def __init__(self, is_ours: Callable[[str], bool]) -> None:
        self._is_ours = is_ours
        self._states: dict[str, str] = {}

    def load(self, items: Sequence[Mapping[str, str]]) -> list[str]:
        """Take the items of ``DeviceStateList``; what is not among them has no state any more. Returns as `feed`."""
        before, self._states = self._states, {}
        for item in items:
            self._take(item)
        devices = dict.fromkeys([*before, *self._states])
        return [device for device in devices if before.get(device) != self._states.get(device)]

    def feed(self, event: Mapping[str, str]) -> list[str]:
        """Take any event; return the devices whose state has changed."""
        if event.get("Event") != "DeviceStateChange":
            return []
        before = self._states.get(event.get("Device", ""))
        self._take(event)
        device = event.get("Device", "")
        return [device] if self._states.get(device) != before else []

    def clear(self) -> None:
        """Forget all states: the connection to Asterisk is gone."""
        self._states.clear()

    def state(self, device: str) -> str:
        """Return Asterisk's word, such as ``NOT_INUSE`` or ``UNAVAILABLE``; "" if nothing is known."""
        return self._states.get(device, "")

    def is_reachable(self, device: str) -> bool:
        """Return False if the device is known to be out of reach."""
        return self.state(device) not in _OUT_OF_REACH

    def _take(self, item: Mapping[str, str]) -> None:
        device = item.get("Device", "")
        if self._is_ours(device):
            self._states[device] = item.get("State", "")
