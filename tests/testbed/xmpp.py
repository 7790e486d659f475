"""Real XMPP servers behind one interface: Prosody and ejabberd."""

from __future__ import annotations

import abc
import asyncio
import dataclasses
import http.client
import json
import re
import secrets
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from tests.testbed.errors import TestbedError
from tests.testbed.pki import Certificate, Pki
from tests.testbed.ports import free_port
from tests.testbed.program import PROBE_INTERVAL, TreeProgram
from tests.testbed.rootfs import Rootfs, RunDirectory

#: Every mechanism that one of the servers may offer; `Options.mechanisms` turns the others off.
_MECHANISMS = ("PLAIN", "DIGEST-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512", "X-OAUTH2", "OAUTHBEARER")
#: Mnesia keeps for 2 s in memory what it writes; accounts must outlive `Program.kill`.
_FLUSH = "spawn(fun Loop() -> timer:sleep(50), catch mnesia:sync_log(), Loop() end)."
#: ejabberd's modules without options. mod_http_api makes accounts for us, mod_admin_extra restarts the others.
_EJABBERD_MODULES = (
    *("mod_adhoc", "mod_admin_extra", "mod_blocking", "mod_caps", "mod_carboncopy", "mod_disco", "mod_http_api"),
    *("mod_last", "mod_ping", "mod_privacy", "mod_private", "mod_roster", "mod_time", "mod_vcard", "mod_version"),
)
#: ejabberd's mod_privilege: publishing, and nothing else.
_PUBLISHING = {"iq": {"http://jabber.org/protocol/pubsub": {"set": "all"}}}


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """How a server is set up.

    Attributes:
        domain: of the accounts.
        certificate: what the server shows.
        tls: whether clients must encrypt, may, or cannot.
        mechanisms: the SASL mechanisms offered, without ``-PLUS``; empty for all that the server has.
        max_stanza: bytes of the longest stanza taken from a client.
        offline: keep messages for accounts that are not online.
        resume: seconds for which a broken stream may be resumed (XEP-0198); 0 turns stream management off.
        phone: full JID that service discovery lists under the name ``phone``, which is how clients find the phones of a
            service that is no component. Prosody only: ejabberd has no names for what it lists.
        tokens: take access tokens for a login (OAUTHBEARER, `Prosody.issue_token`). Prosody only: ejabberd 26.07 has
            X-OAUTH2 instead.
        privileges: let components publish in the users' names (XEP-0356). ejabberd only; with it, ejabberd 26.07 now
            and then finds no way to a component that has come back.
        upload: bytes of the largest file that the upload service (XEP-0363) takes; 0: there is no such service.
        upload_quota: bytes that one user may upload a day. Prosody only.
    """

    domain: str = "xmpp.test"
    certificate: Certificate = "good"
    tls: Literal["required", "optional", "off"] = "required"
    mechanisms: Sequence[str] = ()
    max_stanza: int = 262_144
    offline: bool = True
    resume: int = 300
    phone: str = ""
    privileges: bool = False
    upload: int = 10_000_000
    upload_quota: int = 100_000_000
    tokens: bool = False

    @property
    def disabled_mechanisms(self) -> list[str]:
        """The mechanisms that the server must not offer.

        The variant with channel binding (``-PLUS``) goes with its mechanism: with one of the two missing, client and
        server take each other for victims of a downgrade attack (RFC 5802 section 6).
        """
        if not self.mechanisms:
            return []
        unwanted = [name for name in _MECHANISMS if name not in self.mechanisms]
        return [*unwanted, *(f"{name}-PLUS" for name in unwanted if name.startswith("SCRAM"))]


class XmppServer(TreeProgram):
    """What Prosody and ejabberd have in common.

    Args:
        rootfs: where the program is.
        options: how it is set up.

    Attributes:
        domain, muc_domain, component_domain: what it serves.
        phones_domain: of a second component, with the same port and secret.
        impostor_domain: of other accounts; it begins with ``domain``.
        port: for clients, with STARTTLS unless that is turned off.
        direct_tls_port: for clients that begin with TLS (XEP-0368).
        upload_domain, https_port: of the upload service, and of what it stores, as ``localhost``.
        component_port, component_secret: for an external component (XEP-0114) named ``component_domain``.
    """

    #: The Debian package; the user that the program runs as, inside, has its name.
    package = ""
    #: The program as it writes itself.
    title = ""

    def __init__(self, rootfs: Rootfs, options: Options | None = None) -> None:
        super().__init__(self.package, rootfs, self.package)
        self.options = options or Options()
        self.domain = self.options.domain
        self.muc_domain = f"rooms.{self.domain}"
        self.component_domain = f"pbx.{self.domain}"
        self.phones_domain = f"phones.{self.domain}"
        self.impostor_domain = f"{self.domain}.evil"
        self.component_secret = secrets.token_hex(16)
        self.port = free_port()
        self.direct_tls_port = free_port()
        self.component_port = free_port()
        self.upload_domain = f"upload.{self.domain}"
        self.https_port = free_port()
        self._users: set[str] = set()
        self._pki = Pki()

    @property
    def ca_file(self) -> Path:
        """The CA that clients must trust, as PEM; readable for everybody."""
        return self._place().outside / "ca.pem"

    async def add_user(self, user: str, password: str, domain: str = "") -> str:
        """Make an account, of ``domain`` or of the first one, and return its bare JID.

        Raises:
            TestbedError: there is one of that name already, or the server refused.
        """
        domain = domain or self.domain
        jid = f"{user}@{domain}"
        if jid in self._users:
            raise TestbedError(f"{self.name} has a user {jid} already")
        self._users.add(jid)
        await asyncio.to_thread(self._register, user, domain, password)
        return jid

    @abc.abstractmethod
    def _register(self, user: str, domain: str, password: str) -> None:
        """Make an account in the running server; called in a thread."""

    @property
    def label(self) -> str:
        return f"{self.title} {self.rootfs.versions()[self.package]}"

    @property
    def log_file(self) -> Path:
        return self._place().outside / "log/server.log"

    @abc.abstractmethod
    def _configure(self, directory: RunDirectory) -> None:
        """Write what both servers read; a server adds its own configuration."""
        directory.directory("log")
        directory.directory("data")
        directory.write("ca.pem", self._pki.ca, mode=0o644)
        components = (self.component_domain, self.phones_domain)
        names = (self.domain, self.muc_domain, *components, self.impostor_domain, "localhost")
        pair = self._pki.issue(self.options.certificate, *names)
        directory.write("tls.key", pair.key)
        directory.write("tls.crt", pair.chain)
        directory.write("tls.pem", pair.chain + pair.key)

    def _environment(self) -> dict[str, str]:
        return {**super()._environment(), "HOME": str(self._place().inside)}

    def _probe(self) -> None:
        """Open a stream (RFC 6120 section 4.2): a port that is open does not yet mean that the domain is served."""
        header = (
            f"<?xml version='1.0'?><stream:stream to='{self.domain}' version='1.0' xmlns='jabber:client'"
            " xmlns:stream='http://etherx.jabber.org/streams'>"
        )
        with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
            connection.sendall(header.encode())
            answer = b""
            while b"<stream:features" not in answer:
                data = connection.recv(4096)
                if not data or b"<stream:error" in data:
                    raise OSError("it opens no stream yet")
                answer += data
            connection.sendall(b"</stream:stream>")


class Prosody(XmppServer):
    """A Prosody."""

    package = "prosody"
    title = "Prosody"

    def _register(self, user: str, domain: str, password: str) -> None:
        config = str(self._place().inside / "prosody.cfg.lua")
        self.rootfs.run("prosodyctl", "--config", config, "register", user, domain, password, user=self.user)

    async def issue_token(self, jid: str, seconds: int = 3600) -> str:
        """Return a new access token of an account, which expires after ``seconds``; below 0 it has expired already.

        Raises:
            TestbedError: the server has none to give, such as without `Options.tokens`.
        """
        grant = f'tokens.create_grant("{jid}", "{jid}")'
        answer = await self._ask_tokens(f'return (tokens.create_token("{jid}", {grant}, nil, {seconds}, "oauth2"))')
        found = re.search(r"secret-token:\S+", answer)
        if found is None:
            raise TestbedError(f"{self.name} issues no token: {answer}")
        return found[0]

    async def revoke_token(self, token: str) -> None:
        """Let a token be of no use any more. Sessions that were begun with it go on."""
        answer = await self._ask_tokens(f'return tokens.revoke_token("{token}")')
        if "Result: true" not in answer:
            raise TestbedError(f"{self.name} did not revoke the token: {answer}")

    async def _ask_tokens(self, code: str) -> str:
        """Run Lua in the server, with its own token service as ``tokens``."""
        config = str(self._place().inside / "prosody.cfg.lua")
        service = f'require "prosody.core.modulemanager".get_module("{self.domain}", "tokenauth")'
        words = ("prosodyctl", "--config", config, "shell", f"> local tokens = {service}; {code}")
        return await asyncio.to_thread(self.rootfs.run, *words, user=self.user)

    def _command(self) -> list[str]:
        return self.rootfs.command(
            "prosody", "--config", str(self._place().inside / "prosody.cfg.lua"), "-F", user=self.user
        )

    def _configure(self, directory: RunDirectory) -> None:
        super()._configure(directory)
        here, options = directory.inside, self.options
        items = f'{{ {{ "{options.phone}", "phone" }} }}' if options.phone else "{ }"
        modules = [
            *("roster", "saslauth", "disco", "ping", "version", "private", "pep", "vcard_legacy", "vcard4", "carbons"),
            *("blocklist", "time", "uptime"),
            *(["tls"] if options.tls != "off" else []),
            *(["smacks"] if options.resume else []),
            *(["admin_shell"] if options.tokens else []),
        ]
        directory.write(
            "prosody.cfg.lua",
            f"""
daemonize = false
pidfile = "{here}/prosody.pid"
data_path = "{here}/data"
log = {{ debug = "{here}/log/server.log" }}
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {self.port} }}
c2s_direct_tls_ports = {{ {self.direct_tls_port} }}
component_interfaces = {{ "127.0.0.1" }}
component_ports = {{ {self.component_port} }}
s2s_ports = {{ }}
-- An answer to one client that follows a stanza to another would wait 40 ms for the kernel otherwise.
network_settings = {{ nagle = false }}
modules_enabled = {_lua_list(modules)}
modules_disabled = {_lua_list(["s2s", *([] if options.offline else ["offline"])])}
authentication = "{"internal_hashed" if options.tokens else "internal_plain"}"
storage = "internal"
c2s_require_encryption = {_lua(options.tls == "required")}
allow_unencrypted_plain_auth = {_lua(options.tls != "required")}
disable_sasl_mechanisms = {_lua_list(options.disabled_mechanisms)}
c2s_stanza_size_limit = {options.max_stanza}
smacks_hibernation_time = {options.resume}
ssl = {{ key = "{here}/tls.key", certificate = "{here}/tls.crt" }}
c2s_direct_tls_ssl = ssl
http_ports = {{ }}
https_ports = {_lua_list([str(self.https_port)] if options.upload else [])}
https_interfaces = {{ "127.0.0.1" }}
https_ssl = ssl
VirtualHost "{self.domain}"
    disco_items = {items}
VirtualHost "{self.impostor_domain}"
Component "{self.muc_domain}" "muc"
Component "{self.component_domain}"
    component_secret = "{self.component_secret}"
    name = "phone"
Component "{self.phones_domain}"
    component_secret = "{self.component_secret}"
{self._upload() if options.upload else ""}
""",
        )

    def _upload(self) -> str:
        return f"""
Component "{self.upload_domain}" "http_file_share"
    http_host = "localhost"
    http_external_url = "https://localhost:{self.https_port}/"
    http_file_share_size_limit = {self.options.upload}
    http_file_share_daily_quota = {self.options.upload_quota}
    http_file_share_access = {{ "{self.component_domain}" }}
"""


class Ejabberd(XmppServer):
    """An ejabberd. It takes some seconds to start: use the session's where you can.

    Attributes:
        component_tls_port: as ``component_port``, with TLS from the first byte. Prosody has none.
    """

    package = "ejabberd"
    title = "ejabberd"

    def __init__(self, rootfs: Rootfs, options: Options | None = None) -> None:
        super().__init__(rootfs, options)
        self._api_port = free_port()
        self.component_tls_port = free_port()

    def _register(self, user: str, domain: str, password: str) -> None:
        self._api("register", {"user": user, "host": domain, "password": password})
        # Mnesia has it in memory now. It must be on disk before a test may kill the server.
        tables = self._place().outside / "data"
        deadline = time.monotonic() + 10.0
        while not any(user.encode() in file.read_bytes() for file in tables.iterdir() if file.is_file()):
            if time.monotonic() > deadline:
                raise TestbedError(f"ejabberd does not write the account {user} to its disk")
            time.sleep(PROBE_INTERVAL)

    async def restart_rooms(self) -> None:
        """Restart the room service (XEP-0045) alone: clients stay connected."""
        await asyncio.to_thread(self._api, "restart_module", {"host": self.domain, "module": "mod_muc"})

    @property
    def log_file(self) -> Path:
        return self.output_file  # its own log file is written seconds later

    def _api(self, command: str, arguments: dict[str, str]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._api_port, timeout=10)
        try:
            headers = {"Content-Type": "application/json", "Host": self.domain}
            connection.request("POST", f"/api/{command}", json.dumps(arguments), headers)
            response = connection.getresponse()
            text = response.read().decode(errors="replace")
        except OSError as error:
            raise TestbedError(f"ejabberd's API does not answer: {error}") from None
        finally:
            connection.close()
        if response.status != http.HTTPStatus.OK:
            raise TestbedError(f"ejabberd refused {command}: {text}")

    def _command(self) -> list[str]:
        # erl itself, not ejabberdctl: that one starts a daemon beside (epmd) and is not the process that it starts.
        here = self._place().inside
        mnesia = ("-mnesia", "dir", f'"{here}/data"')
        return self.rootfs.command(
            *("erl", "-noinput", "+sbwt", "none", *mnesia, "-s", "ejabberd", "-eval", _FLUSH), user=self.user
        )

    def _environment(self) -> dict[str, str]:
        here = self._place().inside
        return {
            **super()._environment(),
            "ERL_LIBS": ":".join(
                str(Path("/") / path.relative_to(self.rootfs.path))
                for path in self.rootfs.path.glob("usr/lib/*-linux-gnu*")
            ),
            "EJABBERD_CONFIG_PATH": str(here / "ejabberd.yml"),
            "EJABBERD_LOG_PATH": str(here / "log/server.log"),
            "ERL_CRASH_DUMP_BYTES": "0",
        }

    def _configure(self, directory: RunDirectory) -> None:
        super()._configure(directory)
        here, options = directory.inside, self.options
        client = {
            "module": "ejabberd_c2s",
            "ip": "127.0.0.1",
            "max_stanza_size": options.max_stanza,
            "access": "all",
            "shaper": "none",
        }
        starttls = {"off": {}, "optional": {"starttls": True}, "required": {"starttls_required": True}}[options.tls]
        password = {"password": self.component_secret}
        hosts = {self.component_domain: password, self.phones_domain: password}
        # By default each component of a port gets a part of what is for the others.
        component = {"hosts": hosts, "global_routes": False}
        configuration = {
            "hosts": [self.domain, self.impostor_domain],
            "loglevel": "info",
            "certfiles": [f"{here}/tls.pem"],
            "ca_file": f"{here}/ca.pem",
            "acme": {"auto": False},
            "auth_method": "internal",
            "auth_password_format": "plain",
            "disable_sasl_mechanisms": options.disabled_mechanisms,
            "listen": [
                {**client, "port": self.port, **starttls},
                {**client, "port": self.direct_tls_port, "tls": True},
                {"module": "ejabberd_service", "ip": "127.0.0.1", "port": self.component_port, **component},
                {
                    "module": "ejabberd_service",
                    "ip": "127.0.0.1",
                    "port": self.component_tls_port,
                    **component,
                    "tls": True,
                    "certfile": f"{here}/tls.pem",  # without it, ejabberd closes the connection without a word
                },
                {
                    "module": "ejabberd_http",
                    "ip": "127.0.0.1",
                    "port": self._api_port,
                    "request_handlers": {"/api": "mod_http_api"},
                },
                *([self._https()] if options.upload else []),
            ],
            "api_permissions": {"testbed": {"from": ["mod_http_api"], "who": "all", "what": "*"}},
            "modules": {
                **{name: {} for name in _EJABBERD_MODULES},
                **({"mod_offline": {}} if options.offline else {}),
                **({"mod_stream_mgmt": {"resume_timeout": options.resume}} if options.resume else {}),
                "mod_muc": {"host": self.muc_domain, "access": ["allow"]},
                "mod_pubsub": {"plugins": ["flat", "pep"]},
                **({"mod_privilege": _PUBLISHING} if options.privileges else {}),
                **({"mod_http_upload": self._upload(here)} if options.upload else {}),
            },
        }
        # JSON is YAML: no template to get wrong.
        directory.write("ejabberd.yml", json.dumps(configuration, indent=1))

    def _https(self) -> dict[str, Any]:
        return {
            "module": "ejabberd_http",
            "ip": "127.0.0.1",
            "port": self.https_port,
            "tls": True,
            "request_handlers": {"/upload": "mod_http_upload"},
        }

    def _upload(self, here: Path) -> dict[str, Any]:
        return {
            "host": "upload.@HOST@",
            "docroot": f"{here}/data/upload",
            "put_url": f"https://localhost:{self.https_port}/upload/@HOST@",
            "max_size": self.options.upload,
            "access": "all",
        }


@dataclasses.dataclass(frozen=True, slots=True)
class Login:
    """Somebody's login.

    Attributes:
        jid: the bare JID.
        password: in clear.
    """

    jid: str
    password: str


class Accounts:
    """Makes accounts that no other test has: ``await accounts("bob")`` is ``bob-3f9a…@xmpp.test``."""

    def __init__(self, server: XmppServer) -> None:
        self.server = server

    async def __call__(self, name: str) -> Login:
        password = secrets.token_urlsafe(12)
        return Login(await self.server.add_user(f"{name}-{secrets.token_hex(4)}", password), password)


def _lua(value: bool) -> str:
    return "true" if value else "false"


def _lua_list(words: Sequence[str]) -> str:
    return "{ " + ", ".join(json.dumps(word) for word in words) + " }"
