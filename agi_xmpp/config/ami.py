"""``[ami]``: the manager connection to Asterisk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from agi_xmpp.config.base import Host, Port, demand_one_trust, is_loopback
from agi_xmpp.config.secrets import PasswordSource


class AmiSettings(PasswordSource):
    """``[ami]``: the manager connection to Asterisk (AMI), which the phone protocol needs.

    Attributes:
        host: Asterisk's.
        port: TCP port (``port`` or ``tlsbindaddr`` in manager.conf).
        username: the section of manager.conf; docs/admin.md shows one with the least privileges.
        password, password_file, password_env, password_command: the user's ``secret``; exactly one of them.
        tls: ``direct`` (``tlsenable = yes`` in manager.conf) or ``none``. The password is never sent in clear
            (challenge and response, MD5), but who calls whom would be.
        ca_file: certificates to trust besides the system's.
        accept_any_certificate: no check at all. Whoever controls the network between then controls the calls.
        accept_unencrypted: allow ``tls = "none"`` towards another machine.
        connect_timeout: seconds for connecting and logging in.
        action_timeout: seconds for Asterisk to answer an action.
        keepalive: seconds of silence before we ask Asterisk whether it is there.
        keepalive_timeout: seconds for its answer; then the connection counts as dead.
        retry_max: seconds between attempts at the most.
        login_retry: seconds between attempts after Asterisk refused our login.
    """

    host: Host = "127.0.0.1"
    port: Port = 5038
    username: Annotated[str, StringConstraints(min_length=1, max_length=80, pattern=r"^[^\r\n\x00]+$")]
    tls: Literal["none", "direct"] = "none"
    ca_file: Path | None = None
    accept_any_certificate: bool = False
    accept_unencrypted: bool = False
    connect_timeout: Annotated[float, Field(ge=1, le=600)] = 10.0
    action_timeout: Annotated[float, Field(ge=1, le=600)] = 5.0
    keepalive: Annotated[float, Field(ge=1, le=3600)] = 30.0
    keepalive_timeout: Annotated[float, Field(ge=1, le=600)] = 10.0
    retry_max: Annotated[float, Field(ge=1, le=3600)] = 30.0
    login_retry: Annotated[float, Field(ge=1, le=86400)] = 60.0

    @model_validator(mode="after")
    def _consistent(self) -> AmiSettings:
        self._demand_one_source()
        self._demand_own_password("the manager user")
        if self.tls == "none" and not self.accept_unencrypted and not is_loopback(self.host):
            raise ValueError(
                'tls = "none" towards another machine lets the network read who calls whom:'
                ' use tls = "direct", or say accept_unencrypted = true'
            )
        demand_one_trust(self.ca_file, self.accept_any_certificate)
        return self
