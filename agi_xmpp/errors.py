"""Every error that the package raises on purpose, and what each means to a dialplan.

The tree::

    AgiXmppError
    ├── ConfigError            the configuration is wrong (command line: one sentence, exit code 2)
    ├── RenderError            a sample dialplan cannot be made of the values given
    ├── UsageError             the dialplan asked for something that makes no sense: status ERROR
    │   ├── UnknownAccount     no [account.NAME] of that name
    │   ├── BadJid             not a Jabber ID (RFC 7622)
    │   └── BadText            a text that XMPP or AGI cannot carry, with the reason
    ├── AgiError               the AGI conversation with Asterisk
    │   ├── AgiHangup          the caller hung up (the handler is cancelled by default)
    │   ├── AgiProtocolError   Asterisk, or whoever connected, broke the protocol; the session is over
    │   ├── AgiArgumentError   we were about to send something AGI cannot carry; nothing was sent
    │   ├── AgiTimeout         no reply to a command within its deadline; the session is over
    │   └── AgiCommandError    Asterisk refused a command (510, 511, 520)
    ├── AmiError               the manager connection to Asterisk
    │   ├── AmiNotConnected    no usable connection within the time given; nothing was done
    │   ├── AmiRefused         Asterisk refused an action, or our login; nothing was done
    │   │   └── AmiForbidden   the manager user lacks a privilege (``write =`` in manager.conf)
    │   ├── AmiUnknown         the connection broke, or time ran out, before the answer: it may have been done
    │   ├── AmiArgumentError   we were about to send something AMI cannot carry; nothing was sent
    │   └── AmiProtocolError   whoever answers there does not speak AMI; the connection is over
    ├── SipError               the SIP leg to Asterisk
    │   ├── SipNotReached      nobody answered, or there is no leg (any more); nothing was done
    │   ├── SipRefused         Asterisk refused a call or a text; nothing was done
    │   └── SipUnknown         sent, but no answer came: it may have been done
    └── XmppError              the XMPP session
        ├── NotConnected       no usable session within the time given; nothing was sent
        ├── NotConfirmed       sent, but the connection broke before the server acknowledged: it may have arrived
        ├── NotInRoom          not an occupant of the room; the message reached nobody
        ├── Bounced            the stanza came back with an error
        ├── UploadFailed       a file could not be stored with the upload service (XEP-0363); nobody has it
        ├── NotAcknowledged    the server has it, but the receipt (XEP-0184) did not come in time
        ├── Refused            we refuse what somebody else asked of us over XMPP
        ├── LoginFailed        the server refuses our credentials
        └── TlsFailed          no trustworthy encryption with this server

`dialplan_status` below is the one table from an error to the word that a dialplan sees.
"""

from __future__ import annotations


class AgiXmppError(Exception):
    """Base of all errors of this package. ``str(error)`` is one sentence for an administrator."""


class ConfigError(AgiXmppError):
    """The configuration is wrong; the text names the file, the key and what would be right."""


class RenderError(AgiXmppError):
    """A sample dialplan cannot be rendered; the text names the template or variable and what would be right."""


class UsageError(AgiXmppError):
    """The caller of a verb gave arguments or options that make no sense."""


class UnknownAccount(UsageError):
    """There is no account of that name in the configuration."""


class BadJid(UsageError):
    """A text is not a Jabber ID (RFC 7622)."""


class BadText(UsageError):
    """A text cannot be carried whole by XMPP or by AGI; the reason is in the message."""


class AgiError(AgiXmppError):
    """The AGI conversation failed."""


class AgiHangup(AgiError):
    """The caller hung up."""


class AgiProtocolError(AgiError):
    """The peer broke the AGI protocol, or smuggled lines into it; the session must end."""


class AgiArgumentError(AgiError, ValueError):
    """A command cannot be sent to Asterisk as it stands (CR, LF, NUL, too long, too many words). Nothing was sent."""


class AgiTimeout(AgiError, TimeoutError):
    """Asterisk did not answer a command within its deadline."""


class AgiCommandError(AgiError):
    """Asterisk refused a command.

    Attributes:
        code: 510 (unknown command), 511 (not permitted on a dead channel) or 520 (usage).
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class AmiError(AgiXmppError):
    """The manager connection to Asterisk could not do what was asked."""


class AmiNotConnected(AmiError):
    """There was no usable connection within the time given. Nothing was done."""


class AmiRefused(AmiError):
    """Asterisk refused an action or our login. Nothing was done; the text is Asterisk's own ``Message``."""


class AmiForbidden(AmiRefused):
    """Asterisk's manager user may not do that. Nothing was done; the text names what manager.conf has to grant."""


class AmiUnknown(AmiError):
    """The connection broke, or time ran out, before the answer came: the action may have been carried out or not."""


class AmiArgumentError(AmiError, ValueError):
    """An action cannot be sent as it stands (CR, LF, NUL, too long, too many headers). Nothing was sent."""


class AmiProtocolError(AmiError):
    """The peer does not speak AMI, or breaks its rules; the connection must end."""


class SipError(AgiXmppError):
    """The SIP leg to Asterisk could not do what was asked."""


class SipNotReached(SipError):
    """Nobody answered our call, or the leg is over. Nothing was done."""


class SipRefused(SipError):
    """Asterisk refused a call or a text. Nothing was done.

    Attributes:
        code: of the response (RFC 3261 section 21), such as 404.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class SipUnknown(SipError):
    """A text was sent, and no answer came: it may have reached the phones or not."""


class XmppError(AgiXmppError):
    """The XMPP session could not do what was asked."""


class NotConnected(XmppError):
    """There was no usable session within the time given. Nothing was sent."""


class NotConfirmed(XmppError):
    """The connection broke before the server acknowledged the stanza: it may have arrived or not."""


class NotAcknowledged(XmppError, TimeoutError):
    """The server has the message, but the addressee's receipt (XEP-0184) did not come in time."""


class UploadFailed(XmppError):
    """A file could not be stored with the server's upload service (XEP-0363). Nobody was sent its address."""


class NotInRoom(XmppError):
    """We are not an occupant of the room (XEP-0045). The message reached nobody."""


class Bounced(XmppError):
    """A stanza came back as an error.

    Attributes:
        condition: the defined condition of RFC 6120 section 8.3.3, such as ``item-not-found``.
    """

    def __init__(self, message: str, condition: str) -> None:
        super().__init__(message)
        self.condition = condition


class Refused(XmppError):
    """We refuse what somebody asked of us over XMPP; the text is for them.

    Attributes:
        condition: the defined condition of RFC 6120 section 8.3.3, such as ``forbidden``.
    """

    def __init__(self, message: str, condition: str) -> None:
        super().__init__(message)
        self.condition = condition


class LoginFailed(XmppError):
    """The server refuses our credentials, or has no login method that we may use."""


class TlsFailed(XmppError):
    """The connection could not be encrypted, or the server's certificate cannot be trusted."""


def dialplan_status(error: BaseException) -> str:
    """Return the word for a verb's status variable after ``error``.

    ``FAILED`` is the network's fault (the dialplan was right and may try another way), ``ERROR`` is a mistake in the
    dialplan, the configuration or this program.
    """
    if isinstance(error, AgiHangup):
        return "HANGUP"
    if isinstance(error, XmppError):
        return "FAILED"
    return "ERROR"
