"""From what goes wrong with the manager connection to one sentence that tells an administrator what to do."""

from __future__ import annotations

import errno
import os
import socket
import ssl

from agi_xmpp import tls
from agi_xmpp.errors import AmiError, AmiForbidden, AmiNotConnected, AmiRefused, ConfigError

#: What a manager user needs in its line ``write =`` for an action, as ``ListCommands`` says; of several classes that
#: would do, the narrowest. Others need nothing, or are not used here.
WRITE_CLASSES = {
    "Originate": "originate",
    **dict.fromkeys(("Redirect", "BlindTransfer", "Atxfer", "CancelAtxfer", "Bridge", "Park", "Setvar"), "call"),
    **dict.fromkeys(("ConfbridgeKick", "ConfbridgeMute", "ConfbridgeUnmute", "SendText"), "call"),
    **dict.fromkeys(("Hangup", "PlayDTMF", "Status", "ExtensionState", "ExtensionStateList"), "call"),
    **dict.fromkeys(("PresenceState", "PresenceStateList", "DeviceStateList", "Getvar", "MailboxCount"), "call"),
    **dict.fromkeys(("QueuePause", "QueueAdd", "QueueRemove"), "agent"),
    **dict.fromkeys(("CoreShowChannels", "CoreShowChannelMap", "CoreSettings", "ConfbridgeList"), "reporting"),
    "ConfbridgeListRooms": "reporting",
    "UserEvent": "user",
    "MessageSend": "message",
}

#: The module that has an action, where Asterisk may do without it.
_MODULES = {
    **dict.fromkeys(("QueuePause", "QueueAdd", "QueueRemove", "QueueStatus", "QueueSummary"), "app_queue"),
    **dict.fromkeys(("ConfbridgeList", "ConfbridgeListRooms"), "app_confbridge"),
    **dict.fromkeys(("ConfbridgeKick", "ConfbridgeMute", "ConfbridgeUnmute"), "app_confbridge"),
    "PresenceStateList": "res_manager_presencestate",
    "DeviceStateList": "res_manager_devicestate",
    **dict.fromkeys(("PJSIPShowEndpoints", "PJSIPShowContacts", "PJSIPShowAors"), "res_pjsip"),
    "Park": "res_parking",
    "ParkedCalls": "res_parking",
}

#: Lists that have no items: Asterisk calls that an error. The texts stand in app_confbridge.c, pjsip_configuration.c,
#: location.c and manager_channels.c.
_EMPTY_LISTS = frozenset(
    {
        "No active conferences.",
        "No endpoints found",
        "No Contacts found",
        "No AORs found",
    }
)


#: In asyncio's text for a name with several addresses, none of which could be reached (``localhost``: IPv4 and IPv6).
_REFUSED = f"[Errno {errno.ECONNREFUSED}]"


def is_empty_list(message: str) -> bool:
    """Tell whether Asterisk's error says that there are no items."""
    return message in _EMPTY_LISTS


def refused(action: str, message: str, user: str) -> AmiRefused:
    """Return an error for an action that Asterisk answered by ``Error``.

    Args:
        action: its name.
        message: what Asterisk says.
        user: of manager.conf, as whom we are logged in.
    """
    if message == "Permission denied":
        needed = WRITE_CLASSES.get(action)
        grant = f"add {needed} to its line write =" if needed else "its line write = does not grant that"
        # Asterisk gives a connection the rights that its user had at the login, and no others later.
        return AmiForbidden(
            f"the manager user {user} may not do {action}: in [{user}] of manager.conf, {grant}; after that,"
            ' asterisk -rx "manager reload", and systemctl reload agi-xmpp'
        )
    if message.startswith("Invalid/unknown command"):
        module = _MODULES.get(action)
        advice = f"; it needs {module}" if module else ""
        return AmiRefused(f"Asterisk knows no action {action}{advice}")
    return AmiRefused(message or f"Asterisk refused {action} and gave no reason")


def login_refused(message: str, user: str, place: str) -> AmiRefused:
    """Return an error for a refused login.

    Asterisk says the same of a wrong secret, an unknown user and an address that is not permitted (so that nobody can
    find out who exists). Its own log says which.
    """
    return AmiRefused(
        f"Asterisk at {place} refuses the login of the manager user {user} ({message}): the password must be the "
        f"secret in [{user}] of manager.conf, and permit there must allow our address; Asterisk's log says which it is"
    )


def connecting(error: Exception, *, host: str, place: str, timeout: float, encrypted: bool) -> AmiError:
    """Return an error of ours for whatever ended an attempt to connect.

    Args:
        error: what ended it.
        host: that we connected to.
        place: host and port.
        timeout: seconds that the attempt had.
        encrypted: whether we began with TLS.

    Returns:
        `AmiRefused` if trying again at once is of no use, else another `AmiError`.
    """
    if isinstance(error, AmiError):
        return error
    if isinstance(error, ConfigError):
        return AmiRefused(f"no login at {place}: {error}")
    if isinstance(error, ssl.SSLError):
        return AmiNotConnected(_tls(error, host, place))
    if isinstance(error, TimeoutError):
        advice = "" if encrypted else '; if its port is for TLS (tlsbindaddr in manager.conf), set tls = "direct"'
        return AmiNotConnected(f"no manager interface (AMI) at {place} answered within {timeout:g} s{advice}")
    if isinstance(error, ConnectionRefusedError) or _REFUSED in str(error):
        enable = "tlsenable = yes and tlsbindaddr" if encrypted else "enabled = yes, bindaddr and port"
        return AmiNotConnected(f"nobody listens at {place}: is Asterisk running, with {enable} in manager.conf?")
    if isinstance(error, OSError):
        return AmiNotConnected(f"no connection to {place}: {os_reason(error)}")
    return AmiNotConnected(f"connecting to {place} failed: {type(error).__name__}")


def os_reason(error: OSError) -> str:
    """Return what the operating system says, without addresses."""
    if isinstance(error, socket.gaierror):
        return f"the name is not known ({error.strerror})"
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__


def _tls(error: ssl.SSLError, host: str, place: str) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return tls.distrust(error, place, host)
    reason = tls.handshake_reason(error)
    advice = ""
    if reason in ("wrong version number", "record layer failure", "packet length too long"):
        advice = '; it is no port for TLS: set port to that of tlsbindaddr in manager.conf, or tls = "none"'
    return f"TLS with {place} failed: {reason}{advice}"
