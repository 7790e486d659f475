"""What we change in aioxmpp 0.13.3, once for the process: its speed, and faults in how it treats stanzas.

aioxmpp is dormant upstream, so these cannot be mended there. Each change is a few lines, keeps the library's interface,
and has a test in tests/unit/xmpp/test_tuning.py that fails if the library behaves otherwise.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import aioxmpp
import aioxmpp.muc.xso
import aioxmpp.stream
import aioxmpp.structs
import aioxmpp.xml
from aioxmpp import xso

_PREPARATIONS = ("nodeprep", "nameprep", "resourceprep")

#: Characters of one part of an address that are worth preparing. It may have 1023 bytes when it is prepared (RFC 7622
#: section 3), and preparing takes some characters away.
_LONGEST_PART = 3 * 1023


@functools.cache
def apply() -> None:
    """Change the library. Calling it again does nothing."""
    _cache_pure_functions()
    aioxmpp.Message.xso_error_handler = _keep_message
    aioxmpp.Presence.xso_error_handler = _keep_presence
    aioxmpp.muc.xso.UserExt.xso_error_handler = _keep_room_extension
    # The library's property is replaced, so that its connection logic never sees where the server would have us go:
    # it would go there with its stock connector, whose certificate check is broken.
    aioxmpp.stream.StanzaStream.sm_location = property(lambda _stream: None)
    aioxmpp.stream.StanzaStream._resume_sm = _resume_in_order
    aioxmpp.stream.StanzaStream._process_outgoing = _send_while_connected


def _cache_pure_functions() -> None:
    """Halve the CPU time of a stanza: 70 % of receiving is stringprep of the same few addresses.

    The sizes, and the limit to what is prepared at all, bound the memory to some MB whatever a flood of addresses does.
    """
    for name in _PREPARATIONS:
        setattr(aioxmpp.structs, name, functools.lru_cache(8192)(_within_limits(getattr(aioxmpp.structs, name))))
    aioxmpp.xml.xmlValidateNameValue_str = functools.lru_cache(2048)(aioxmpp.xml.xmlValidateNameValue_str)


def _within_limits(prepare: Callable[..., str]) -> Callable[..., str]:
    """Refuse what can be no part of an address before it costs anything.

    The library looks at the length of what it has prepared: half a second for an address of 200 KB, which anybody can
    write into a stanza where no server looks.
    """

    def limited(text: str, *args: Any, **kwargs: Any) -> str:
        if len(text) > _LONGEST_PART:
            raise ValueError(f"a part of an address has {len(text)} characters")
        return prepare(text, *args, **kwargs)

    return limited


def _keep_message(self: Any, descriptor: Any, ev_args: Any, exc_info: Any) -> bool:
    """Drop a child that cannot be read, not the message: a bad ``<delay stamp>`` must not cost us an answer."""
    return _keep(aioxmpp.Message, self, descriptor, ev_args, exc_info)


def _keep_presence(self: Any, descriptor: Any, ev_args: Any, exc_info: Any) -> bool:
    """Drop a child that cannot be read, not the presence: a bad ``<priority/>`` must not make somebody offline."""
    return _keep(aioxmpp.Presence, self, descriptor, ev_args, exc_info)


def _keep_room_extension(_self: Any, _descriptor: Any, _ev_args: Any, _exc_info: Any) -> bool:
    """Drop a child that cannot be read, not what stands beside it: an odd role must not hide that we are in a room."""
    return True


def _keep(cls: Any, stanza: Any, descriptor: Any, ev_args: Any, exc_info: Any) -> bool:
    if isinstance(descriptor, xso.Attr):
        # Without its addresses or its type a stanza cannot be judged: the library drops it.
        super(cls, stanza).xso_error_handler(descriptor, ev_args, exc_info)
    return True


_process_outgoing = aioxmpp.stream.StanzaStream._process_outgoing


def _send_while_connected(self: Any, xmlstream: Any, token: Any) -> None:
    """Send what waits; over a connection that has just broken, leave everything where it is.

    The library would tell of each stanza that it FAILED, as if it could not be written as XML. It then forgets them,
    except for the first: that one it sends later all the same, so that whoever tries again sends it twice.
    """
    xmlstream._require_connection()  # raises what broke it; the caller puts `token` back, as for any error here
    _process_outgoing(self, xmlstream, token)


def _resume_in_order(self: Any, remote_ctr: int) -> None:
    """Send unacknowledged stanzas again after a resumption (XEP-0198 section 5), the oldest first.

    The library puts them back one by one at the head of its queue, which turns their order round.
    """
    self._logger.info("resuming SM stream with remote_ctr=%d", remote_ctr)
    self.sm_ack(remote_ctr)
    for token in reversed(self._sm_unacked_list):
        self._active_queue.putleft_nowait(token)
    self._sm_unacked_list.clear()
