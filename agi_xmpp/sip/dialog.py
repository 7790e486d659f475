"""A dialog (RFC 3261 section 12): what all requests of a call have in common, and the order of what comes. Pure."""

from __future__ import annotations

from typing import Final, Generic, TypeVar

from sipmessage import URI, Address, CSeq, Parameters, Request, Response

from agi_xmpp.sip.text import display_name
from agi_xmpp.sip.wire import addresses, party

#: How far the numbers may jump and the ones between still be waited for, and so how many texts may wait at the most.
#: Asterisk sends them without waiting for our answers: of a burst, the kernel keeps 170 to 330 for us if we cannot read
#: at the moment (default settings of Linux 6). All others come again, seconds later.
MAX_GAP: Final = 1024

_Item = TypeVar("_Item")


class Dialog:
    """The state of one dialog, first as the caller knows it, later as both do.

    Args:
        call_id: Call-ID.
        local: our URI: what stands in From.
        remote: the URI that we call: what stands in To.
        contact: where requests to us go.
        tag: ours.
        sequence: CSeq of the first request.

    Attributes:
        remote_tag: "" until the call is answered.
    """

    def __init__(self, *, call_id: str, local: URI, remote: URI, contact: URI, tag: str, sequence: int) -> None:
        self.call_id = call_id
        self.local_tag = tag
        self.remote_tag = ""
        self.contact = contact
        self._local = local
        self._remote = remote
        self._target = remote
        self._routes: list[Address] = []
        self._sequence = sequence

    def request(self, method: str, *, display: str = "", sequence: int | None = None) -> Request:
        """Return a request of this dialog, without its Via.

        Args:
            method: such as ``MESSAGE``.
            display: name to be shown for us; anything that cannot stand there is left out.
            sequence: CSeq of the INVITE that an ACK is for; a new one for all else.
        """
        if sequence is None:
            self._sequence += 1
            sequence = self._sequence
        request = Request(method, self._target)
        if self._routes:
            request.route = self._routes
        request.max_forwards = 70
        request.from_address = Address(self._local, display_name(display), Parameters(tag=self.local_tag))
        to_tag = {"tag": self.remote_tag} if self.remote_tag else {}
        request.to_address = Address(self._remote, "", Parameters(**to_tag))
        request.call_id = self.call_id
        request.cseq = CSeq(sequence, method)
        return request

    def establish(self, response: Response) -> None:
        """Take what the 2xx to our INVITE says (RFC 3261 section 12.1.2)."""
        self.remote_tag = party(response, "To").tag
        self._routes = addresses(response, "Record-Route")[::-1]
        self.retarget(response)

    def retarget(self, message: Request | Response) -> None:
        """Take the Contact of a message that may change it; an address that cannot be read changes nothing."""
        for address in addresses(message, "Contact")[:1]:
            if address.uri.scheme == "sip":
                self._target = address.uri

    def owns(self, request: Request) -> bool:
        """Tell whether a request of the other side belongs here."""
        tags = party(request, "To").tag, party(request, "From").tag
        return request.call_id == self.call_id and tags == (self.local_tag, self.remote_tag)

    def is_early(self, request: Request) -> bool:
        """Tell whether a request may belong here once we know the other side's tag."""
        return not self.remote_tag and party(request, "To").tag == self.local_tag


class Order(Generic[_Item]):
    """Gives what came back in the order in which it was sent, by CSeq.

    UDP loses datagrams, and while a lost one is sent again, later ones arrive. RFC 3261 section 12.2.2 refuses the
    lost one then; a text would be gone.
    """

    def __init__(self) -> None:
        self._next: int | None = None
        self._held: dict[int, _Item | None] = {}
        self._missed: set[int] = set()

    @property
    def has_gap(self) -> bool:
        """True while something waits for what was sent before it."""
        return bool(self._held)

    def is_new(self, sequence: int) -> bool:
        """Tell whether a request of this number has not come yet."""
        if self._next is None or sequence in self._missed:
            return True
        return sequence >= self._next and sequence not in self._held

    def take(self, sequence: int, item: _Item | None) -> list[_Item]:
        """Take a request.

        Args:
            sequence: its CSeq; `is_new`.
            item: what it brought, None if nothing that has an order.

        Returns:
            The items whose turn it is now.
        """
        if self._next is None:
            self._next = sequence
            self._missed = set(range(max(0, sequence - MAX_GAP), sequence))  # overtaken by the first one
        due: list[_Item] = []
        if sequence - self._next > MAX_GAP:
            due = self.give_up()
            self._skip_to(sequence - MAX_GAP)
        if not self._is_ahead(sequence):
            self._missed.discard(sequence)
            return due if item is None else [*due, item]
        self._held[sequence] = item
        return due + self._ready()

    def give_up(self) -> list[_Item]:
        """Wait no longer for what is missing: return all that waited. What still comes later is late, but not lost."""
        if self._next is None or not self._held:
            return []
        last = max(self._held)
        held = [self._held[number] for number in sorted(self._held)]
        self._held, present = {}, set(self._held)
        self._remember(set(range(self._next, last)) - present)
        self._next = last + 1
        return [item for item in held if item is not None]

    def _is_ahead(self, sequence: int) -> bool:
        return self._next is not None and sequence >= self._next

    def _skip_to(self, number: int) -> None:
        """Go on at ``number`` if that is further on; a few before it may still come."""
        if self._next is not None and number > self._next:
            self._remember(set(range(max(self._next, number - MAX_GAP), number)))
            self._next = number

    def _remember(self, missed: set[int]) -> None:
        self._missed |= missed
        if len(self._missed) > 2 * MAX_GAP:
            self._missed = set(sorted(self._missed)[-MAX_GAP:])

    def _ready(self) -> list[_Item]:
        due: list[_Item] = []
        while self._next in self._held:
            item = self._held.pop(self._next)
            self._next += 1
            if item is not None:
                due.append(item)
        return due
