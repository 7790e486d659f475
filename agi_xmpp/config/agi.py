"""``[agi]``: the FastAGI server."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import Field, IPvAnyNetwork, PositiveFloat, PositiveInt, StringConstraints

from agi_xmpp.config.base import Host, Section


class ScriptRoute(Section):
    """``[[agi.script]]``: a script written for pyst2's ``AGI`` class, run as a FastAGI route."""

    path: Annotated[str, StringConstraints(min_length=1, pattern=r"^[^?\s]+$")]
    callable: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")]


class AgiSettings(Section):
    """``[agi]``: the FastAGI server.

    Attributes:
        listen: addresses to listen on. AGI has no password and no encryption: keep it on loopback or a closed network.
        port: TCP port; Asterisk's default is 4573. 0 takes a free one (tests).
        allow: networks whose Asterisks may connect.
        max_sessions: calls in an AGI session at once. Asterisk has 2 threads for each; we need 7 KiB.
        backlog: connections that the kernel holds for us; Asterisk believes itself connected in that queue (asyncio's
            100 loses calls in a burst).
        environment_timeout: seconds for Asterisk to send the environment: it sends it at once.
        command_timeout: seconds for a command that should be answered at once.
        hangup_grace: seconds that a handler may go on after the caller hung up.
        drain_timeout: seconds that open calls get when the service stops.
        quickack: acknowledge Asterisk's segments at once (44 ms per multi-line reply otherwise). Linux only.
        script: pyst2 scripts by path.
    """

    listen: list[Host] = ["127.0.0.1"]
    port: Annotated[int, Field(ge=0, le=65535)] = 4573
    allow: list[IPvAnyNetwork] = [ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")]
    max_sessions: PositiveInt = 2000
    backlog: PositiveInt = 4096
    environment_timeout: PositiveFloat = 5.0
    command_timeout: PositiveFloat = 10.0
    hangup_grace: PositiveFloat = 2.0
    drain_timeout: Annotated[float, Field(ge=0)] = 10.0
    quickack: bool = True
    script: list[ScriptRoute] = []
