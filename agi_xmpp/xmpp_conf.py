"""Import of Asterisk's own configuration: xmpp.conf (11 and later) and jabber.conf (1.4 to 10).

Every option that res_jabber or res_xmpp ever read is in one of the tables below: what becomes of it, or why nothing.
The meaning of each was taken from the source of res_xmpp 22.10.1 and res_jabber 1.8. No library reads this
format as Asterisk does: pyst2's `asterisk.config` refuses templates and cuts values at a semicolon, `configparser`
takes neither ``=>`` nor repeated keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import tomlkit
from tomlkit.items import Table

from agi_xmpp.config import is_loopback, parse
from agi_xmpp.errors import ConfigError

#: How deep ``#include`` may nest; Asterisk's own limit (main/config.c, MAX_INCLUDE_LEVEL).
MAX_INCLUDES = 10

_HEADER = re.compile(r"\[([^\]]+)\](?:\(([^)]*)\))?$")
_SETTING = re.compile(r"([^=]+?)\s*(\+?=>?)\s*(.*)$")


@dataclass(slots=True)
class Section:
    """One ``[section]``: its settings in order, those of its templates first."""

    name: str
    settings: list[tuple[str, str]] = field(default_factory=list)
    template: bool = False


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of an import.

    Attributes:
        toml: our configuration; it holds the passwords of the original.
        notes: what an administrator should read: a sentence for each option that is not carried over as it stands.
    """

    toml: str
    notes: tuple[str, ...]


def read(path: Path, depth: int = 0) -> list[Section]:
    """Read a file in Asterisk's format: ``;`` and ``;-- --;`` comments, templates, ``=>``, ``\\;``, ``#include``.

    Raises:
        ConfigError: the file cannot be read or a line makes no sense; the text names file and line.
    """
    sections: list[Section] = []
    _read_into(sections, path, depth)
    return [section for section in sections if not section.template]


def _read_into(sections: list[Section], path: Path, depth: int) -> None:
    if depth > MAX_INCLUDES:
        raise ConfigError(f"{path}: #include is nested more than {MAX_INCLUDES} deep")
    try:
        text = path.read_bytes().decode("utf-8", errors="surrogateescape")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    if re.search("[\ud800-\udfff]", text):
        text = path.read_text(encoding="latin-1")
    for number, line in _lines(text):
        where = f"{path}, line {number}"
        if line.startswith("#"):
            _directive(sections, line, path, depth, where)
        elif line.startswith("["):
            _header(sections, line, where)
        else:
            _setting(sections, line, where)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield number and content of each line that says something."""
    in_comment = False
    for number, raw in enumerate(text.splitlines(), 1):
        line = ""
        rest = raw
        while rest:
            if in_comment:
                _, end, rest = rest.partition("--;")
                in_comment = not end
                continue
            match = re.search(r"(?<!\\);", rest)
            if match is None:
                line += rest
                break
            line += rest[: match.start()]
            rest = rest[match.start() :]
            # ";--" opens a comment over several lines, unless it goes on as ";---" (main/config.c, COMMENT_TAG).
            if rest.startswith(";--") and not rest.startswith(";---"):
                in_comment, rest = True, rest[3:]
            else:
                break
        line = line.replace("\\;", ";").strip()
        if line:
            yield number, line


def _directive(sections: list[Section], line: str, path: Path, depth: int, where: str) -> None:
    word, _, argument = line.partition(" ")
    argument = argument.strip().strip('"<>')
    if word in ("#include", "#tryinclude") and argument:
        found = sorted(path.parent.glob(argument)) if not argument.startswith("/") else [Path(argument)]
        found = [file for file in found if file.exists()]
        if not found and word == "#include":
            raise ConfigError(f"{where}: {argument} does not exist beside {path}")
        for file in found:
            _read_into(sections, file, depth + 1)
    elif word == "#exec":
        raise ConfigError(f"{where}: #exec is not run; put its output into the file first")
    else:
        raise ConfigError(f"{where}: {line!r} is not understood")


def _header(sections: list[Section], line: str, where: str) -> None:
    match = _HEADER.match(line)
    if match is None:
        raise ConfigError(f"{where}: {line!r} is no [section]")
    name, modifiers = (
        match.group(1).strip(),
        [word.strip() for word in (match.group(2) or "").split(",") if word.strip()],
    )
    known = {section.name: section for section in sections}
    if "+" in modifiers and name in known:
        sections.remove(known[name])
        section = known[name]
    else:
        section = Section(name, template="!" in modifiers)
    for modifier in modifiers:
        if modifier in ("!", "+"):
            continue
        if modifier not in known:
            raise ConfigError(f"{where}: there is no section {modifier!r} to inherit from")
        section.settings += known[modifier].settings
    sections.append(section)


def _setting(sections: list[Section], line: str, where: str) -> None:
    match = _SETTING.match(line)
    if match is None:
        # The first word only: the others may be a password.
        raise ConfigError(f"{where}: the line that begins with {line.split(maxsplit=1)[0]!r} is no setting")
    if not sections:
        raise ConfigError(f"{where}: {match.group(1)!r} stands before the first [section]")
    sections[-1].settings.append((match.group(1).strip().lower(), match.group(3)))


@dataclass(slots=True)
class _Account:
    """An account in the making."""

    name: str
    table: Table
    options: dict[str, str]
    buddies: list[str]
    notes: list[str]

    @property
    def is_component(self) -> bool:
        """Whatever is not ``component`` is a client (res_xmpp.c, xmpp_client_config_post_apply)."""
        return self.options.get("type", "client").lower() == "component"

    @property
    def by_token(self) -> bool:
        """True if it has no password but a refresh token, as Google's accounts had."""
        options = self.options
        return bool(options.get("refresh_token")) and not options.get("secret") and not self.is_component

    def note(self, text: str) -> None:
        self.notes.append(f"{self.name}: {text}")


def convert(sections: list[Section]) -> Imported:
    """Turn what `read` gave into our configuration.

    Raises:
        ConfigError: there is no account in it, or the outcome would not be a valid configuration of ours.
    """
    document = tomlkit.document()
    document.add(tomlkit.comment("Imported from Asterisk's XMPP configuration. Every key: docs/admin.md."))
    general: dict[str, str] = {}
    for section in sections:
        if section.name.lower() == "general":
            general.update(section.settings)
    notes: list[str] = []
    for option, value in general.items():
        _explain(option, value, "general", notes, _GENERAL)
    if _true(general.get("debug", "no")):
        log = tomlkit.table()
        log.add("level", "debug")
        document.add("log", log)
        notes.append(
            "general: debug = yes became log.level = debug; ours shows message texts then, but never passwords"
        )
    accounts = tomlkit.table(is_super_table=True)
    refused = 0
    for section in sections:
        if section.name.lower() == "general":
            continue
        account = _account(section, general, notes)
        if account is None:
            refused += 1
        else:
            accounts.add(account.name, account.table)
    if not accounts:
        raise ConfigError("no account in it can be imported" + (f": {notes[-1]}" if refused else ""))
    document.add("account", accounts)
    if notes:
        document.add(tomlkit.nl())
        document.add(tomlkit.comment("What is different from the original:"))
        for note in notes:
            document.add(tomlkit.comment(f"- {note}"))
    text = tomlkit.dumps(document)
    parse(tomlkit.parse(text).unwrap(), "the imported configuration")
    return Imported(text, tuple(notes))


def _account(section: Section, general: dict[str, str], notes: list[str]) -> _Account | None:
    options = {key: value for key, value in general.items() if key in _INHERITED}
    options.update(section.settings)
    buddies = list(dict.fromkeys(value for key, value in section.settings if key == "buddy" and value))
    account = _Account(section.name, tomlkit.table(), options, buddies, notes)
    if not options.get("username"):
        account.note("has no username and is not imported")
        return None
    for key in dict.fromkeys(key for key, _ in section.settings):
        _explain(key, options[key], section.name, notes, _ACCOUNT)
    for step in (_identity, _connection, _subscriptions, _presence, _messages):
        step(account)
    return account


def _explain(option: str, value: str, section: str, notes: list[str], table: dict[str, str | None]) -> None:
    if option not in table:  # without its value: it may be a misspelt secret
        notes.append(f"{section}: {option} is no option of res_jabber or res_xmpp; left out")
    elif reason := table[option]:
        shown = "…" if option in _SECRETS else value  # the notes go to the screen
        notes.append(f"{section}: {option} = {shown} left out: {reason}")


_PUBSUB = (
    "device state and voicemail counts over XMPP PubSub are not offered; use Asterisk's PJSIP publication or Corosync"
)
_DIALPLAN = "unsolicited messages do not start a dialplan here; a dialplan asks with jabber_receive"
_GOOGLE = "Google's XMPP service ended in June 2022; another server's token comes from token_command (docs/admin.md)"
_PRUNE = "contacts are never removed from the roster by this service"

#: Options whose values are nobody's business.
_SECRETS = frozenset({"secret", "refresh_token", "oauth_clientid", "oauth_secret"})

#: Options of [general]: None if carried over (see `convert`), else why not.
_GENERAL: dict[str, str | None] = {
    "debug": None,
    "autoregister": None,
    "auth_policy": None,
    "autoprune": _PRUNE,
    "collection_nodes": _PUBSUB,
    "pubsub_autocreate": _PUBSUB,
}

#: Those that hold for every account that says nothing else.
_INHERITED = ("autoregister", "auth_policy")

#: Options of an account, in the same way.
_ACCOUNT: dict[str, str | None] = {
    "type": None,
    "username": None,
    "secret": None,
    "serverhost": None,
    "port": None,
    "usetls": None,
    "usesasl": None,
    "forceoldssl": 'res_xmpp read it and never used it; tls = "direct" is ours',
    "keepalive": None,
    "timeout": None,
    "priority": None,
    "status": None,
    "statusmessage": None,
    "buddy": None,
    "autoregister": None,
    "auth_policy": None,
    "autoprune": _PRUNE,
    "debug": 'log.level = "debug" is for all accounts',
    "refresh_token": _GOOGLE,
    "oauth_clientid": _GOOGLE,
    "oauth_secret": _GOOGLE,
    "sendtodialplan": _DIALPLAN,
    "context": _DIALPLAN,
    "distribute_events": _PUBSUB,
    "pubsub_node": _PUBSUB,
}


def _identity(account: _Account) -> None:
    jid = account.options["username"]
    if account.is_component:
        account.table.add("type", "component")
    account.table.add("jid", jid if "/" in jid or account.is_component else f"{jid}/asterisk-xmpp")
    secret = account.options.get("secret", "")
    if secret:
        account.table.add("password", secret)
    elif account.by_token:
        command = f"/etc/agi-xmpp/{account.name}.token-command"
        account.table.add("token_command", [command])
        account.note(
            f"has a refresh_token and no secret; write a program {command} that prints an access token"
            ' (docs/admin.md, "Login by token"), or take password_file instead of token_command'
        )
    else:
        account.table.add("password_file", f"/etc/agi-xmpp/{account.name}.password")
        account.note("has no secret; put the password into the file that password_file names")


def _connection(account: _Account) -> None:
    if account.is_component:
        _component_connection(account)
    else:
        _client_connection(account)
    if not _true(account.options.get("keepalive", "yes")):
        account.note("keepalive = no is not carried over: a dead connection would go unnoticed")


def _component_connection(account: _Account) -> None:
    host, port = account.options.get("serverhost", ""), account.options.get("port", "")
    if not host:
        account.note('has no serverhost; server = "127.0.0.1" is used')
    else:
        account.table.add("server", host)
        if not is_loopback(host):
            account.table.add("accept_unencrypted", True)
            account.note(
                "the connection to another machine is not encrypted, as in res_xmpp, and accept_unencrypted says so;"
                ' tls = "direct" or a tunnel would keep what is said from others'
            )
    if port:
        account.table.add("port", _number(account, "port", port))
    else:
        account.note("has no port; 5347 is used, where servers take components (res_xmpp would have used 5222)")


def _client_connection(account: _Account) -> None:
    options, table = account.options, account.table
    host, port = options.get("serverhost", ""), options.get("port", "")
    if host:
        table.add("server", host)
        if port and port != "5222":
            table.add("port", _number(account, "port", port))
    else:
        account.note("has no serverhost; the domain's SRV records will say where to connect")
    if port == "5223":
        table.add("tls", "direct")
        account.note('port 5223 is for direct TLS, so tls = "direct"; res_xmpp could not do that')
    elif not _true(options.get("usetls", "yes")):
        if account.by_token:
            account.note("usetls = no is not carried over: a token is sent on an encrypted connection only")
        elif is_loopback(host):
            table.add("tls", "none")
        else:
            account.note(
                "usetls = no is not carried over: without TLS everybody between reads the password; STARTTLS is used"
            )
    if not _true(options.get("usesasl", "yes")):
        account.note("usesasl = no is not carried over: the login of XEP-0078 is obsolete; SCRAM is used")
    account.note(
        "the server's certificate is checked from now on (res_xmpp checked none); for a private CA set ca_file"
    )


def _subscriptions(account: _Account) -> None:
    options = account.options
    if account.buddies:
        plausible = [jid for jid in account.buddies if re.fullmatch(r"[^\s@/]+@[^\s@/]+", jid)]
        for jid in account.buddies:
            if jid not in plausible:
                account.note(f"buddy = {jid} is no bare JID; left out")
        account.table.add("buddies", plausible)
    if options.get("auth_policy", "accept").lower() != "accept" or not _true(options.get("autoregister", "yes")):
        account.table.add("subscriptions", "deny")
    elif "autoregister" in options:
        account.table.add("subscriptions", "accept")
        account.note('autoregister = yes lets every stranger see our presence, as in res_xmpp; "buddies" would not')
    else:
        account.note("only buddies may see our presence (res_xmpp's default let in everybody)")
    if not _true(options.get("autoregister", "yes")):
        account.table.add("subscribe", False)


_SHOWS = {
    "available": "online",
    "online": "online",
    "chat": "chat",
    "chatty": "chat",
    "away": "away",
    "xa": "xa",
    "xaway": "xa",
    "dnd": "dnd",
    "invisible": "dnd",
    "unavailable": "dnd",
}


def _presence(account: _Account) -> None:
    options = account.options
    if "priority" in options and account.is_component:
        account.note("priority is left out: whatever is sent to a component is its own")
    elif "priority" in options:
        account.table.add("priority", _number(account, "priority", options["priority"]))
    if "status" in options:
        word = options["status"].lower()
        if word not in _SHOWS:
            account.note(f"status = {word} is not known; online is used")
        elif word in ("invisible", "unavailable"):
            account.note(f"status = {word} became dnd, as in res_xmpp")
        account.table.add("show", _SHOWS.get(word, "online"))
    if "statusmessage" in options:
        account.table.add("status", options["statusmessage"])


def _messages(account: _Account) -> None:
    if "timeout" in account.options:
        account.table.add("message_ttl", _number(account, "timeout", account.options["timeout"]))


def _number(account: _Account, option: str, value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise ConfigError(f"{account.name}: {option} = {value!r} is no number") from None


def _true(value: str) -> bool:
    # ast_true() of main/utils.c
    return value.strip().lower() in ("yes", "true", "y", "t", "1", "on")
