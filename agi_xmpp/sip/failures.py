"""From what goes wrong with the leg to one sentence that tells an administrator what to do. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from sipmessage import Response

from agi_xmpp.errors import SipNotReached, SipRefused, SipUnknown
from agi_xmpp.sip.text import heard_name


@dataclass(frozen=True, slots=True)
class Failures:
    """Makes the errors of one agent.

    Attributes:
        place: Asterisk's host and port.
        endpoint: ours in pjsip.conf.
        timeout: seconds for an answer.
        has_password: the settings have one.
    """

    place: str
    endpoint: str
    timeout: float
    has_password: bool

    def refused(self, response: Response, what: str, number: str = "") -> SipRefused:
        """Return the error for a refusal.

        Args:
            response: what Asterisk said.
            what: that was refused, such as ``the call to 6000``.
            number: that was called; "" if none.
        """
        said = f"{response.code} {heard_name(response.phrase)}".strip()
        return SipRefused(
            f"Asterisk at {self.place} refuses {what} ({said}){self._advice(response, number)}", response.code
        )

    def nobody_listens(self) -> SipNotReached:
        """Return the error for a port that refuses datagrams."""
        return SipNotReached(
            f"nobody listens at {self.place} (UDP): is Asterisk running, with a transport of PJSIP there?"
        )

    def silent(self) -> SipNotReached:
        """Return the error for a call that nobody answered."""
        return SipNotReached(f"Asterisk at {self.place} (UDP) did not answer within {self.timeout:g} s")

    def no_answer(self, number: str) -> SipRefused:
        """Return the error for a call that was heard, but not taken."""
        return SipRefused(
            f"extension {number} was not answered within {self.timeout:g} s: it must lead to Answer() or ConfBridge()",
            408,
        )

    def no_texts(self) -> SipRefused:
        """Return the error for an Asterisk that takes no MESSAGE: it would not answer one, either."""
        return SipRefused(
            f"Asterisk at {self.place} takes no texts (its SIP has no MESSAGE): load res_pjsip_messaging.so", 405
        )

    def unknown(self) -> SipUnknown:
        """Return the error for a text without an answer."""
        return SipUnknown(f"Asterisk at {self.place} did not say within {self.timeout:g} s that it has the text")

    def _advice(self, response: Response, number: str) -> str:
        endpoint = f"endpoint {self.endpoint} of pjsip.conf"
        match response.code:
            case 401 | 407 if not self.has_password:
                return f": there is no {endpoint}, or it has auth=; then set its password in [conference.sip]"
            case 401 | 407:
                return (
                    f": there is no {endpoint}, or the password is not that of its auth, whose username must be "
                    f"{self.endpoint}, too; Asterisk's log says which it is"
                )
            case 403:
                return f": may the {endpoint} call from our address (acl, identify)? Asterisk's log says why not"
            case 404 if number:
                return f": context= of the {endpoint} has no extension {number}"
            case 421 | 420:
                return f": the {endpoint} demands what we don't have; 100rel=required is such a thing"
            case 488 | 606:
                return f": the {endpoint} needs allow=ulaw or alaw, and media_encryption=no"
        return ""
