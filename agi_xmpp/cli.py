"""The command line. Each command says in its help what it does; the work is done elsewhere.

Exit codes: 0 it worked, 1 it was tried and something is wrong (the output says what), 2 it could not be tried (wrong
option, wrong configuration, no service). Errors are sentences, never tracebacks.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
import os
import ssl
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click
from click.shell_completion import get_completion_class

from agi_xmpp import __version__
from agi_xmpp.config import control_socket, load
from agi_xmpp.errors import AgiXmppError, ConfigError, RenderError, UnknownAccount, UsageError

P = ParamSpec("P")
R = TypeVar("R")

DEFAULT_CONFIG = "/etc/agi-xmpp.toml"

#: Seconds of one wait of `watch`: a service that is gone is noticed after them.
WATCH_TIMEOUT = 20.0


def _sentences(command: Callable[P, R]) -> Callable[P, R]:
    """Turn our own errors into one sentence on stderr and exit code 2."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except AgiXmppError as error:
            click.echo(f"agi-xmpp: {error}", err=True)
            sys.exit(2)

    return wrapped


_config = click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    default=DEFAULT_CONFIG,
    show_default=True,
    show_envvar=True,
    envvar="AGI_XMPP_CONFIG",
    help="The configuration file.",
)


@click.group(
    context_settings={"auto_envvar_prefix": "AGI_XMPP", "help_option_names": ["-h", "--help"], "max_content_width": 120}
)
@click.version_option(__version__, prog_name="agi-xmpp")
def main() -> None:
    """XMPP for Asterisk's dialplan, from outside Asterisk."""


@main.command()
@_config
@click.option("--uvloop/--no-uvloop", default=None, help="Use uvloop's event loop. Default: if it is installed.")
@_sentences
def serve(config: Path, uvloop: bool | None) -> None:
    """Run the service: FastAGI server and XMPP sessions.

    SIGHUP reads the configuration again, SIGTERM ends calls in order and stops.
    """
    settings = load(config)
    _log_to_stderr(settings.log.level)
    from agi_xmpp.service import Service  # late: the other commands start quicker without aioxmpp

    async def run() -> None:
        await Service(settings, config).run()

    with asyncio.Runner(loop_factory=_loop_factory(uvloop)) as runner:
        runner.run(run())


@main.command(short_help="Say whether the configuration is right and logins work.")
@_config
@click.option("--online", is_flag=True, help="Also log in with every account, under a resource of its own.")
@_sentences
def check(config: Path, online: bool) -> None:
    """Say whether the configuration is right.

    With --online also whether every account can log in, whether the manager user has the rights that we need in
    Asterisk, whether Asterisk knows the phones and conferences and clients find the phones, and whether the phone book
    can be read.
    """
    settings = load(config)
    from agi_xmpp.features.script import script_routes

    script_routes(settings.agi.script)
    for name, account in settings.account.items():
        if account.ca_file is not None:
            try:
                ssl.create_default_context(cafile=account.ca_file)
            except OSError as error:
                reason = "it holds no certificate (PEM)" if isinstance(error, ssl.SSLError) else error.strerror
                raise ConfigError(f"{config}: account.{name}: ca_file {account.ca_file}: {reason}") from None
        rooms = {f'account.{name}.room."{room}"': given for room, given in account.room.items() if given.sources}
        for place, source in {f"account.{name}": account, **rooms}.items():
            try:
                source.secret()
            except ConfigError as error:
                raise ConfigError(f"{config}: {place}: {error}") from None
    if settings.ami is not None:
        try:
            settings.ami.secret()
        except ConfigError as error:
            raise ConfigError(f"{config}: ami: {error}") from None
    from agi_xmpp.features.voicemail.delivery import Voicemail

    Voicemail.check(settings.voicemail)
    if settings.phone is not None:
        from agi_xmpp.features.phone.phones import Phones

        Phones.check(settings.phone)
    if settings.contacts is not None:
        from agi_xmpp.features.contacts.finder import Finder

        Finder.check(settings)
    if settings.conference is not None:
        from agi_xmpp.features.conference.gateway import Gateway

        Gateway.check(settings.conference, settings.account[settings.conference.account])
        if settings.conference.sip.sources:
            try:
                settings.conference.sip.secret()
            except ConfigError as error:
                raise ConfigError(f"{config}: conference.sip: {error}") from None
    accounts = ", ".join(settings.account) or "none"
    listen = ", ".join(settings.agi.listen)
    people = len(settings.phone.user) if settings.phone is not None else 0
    phones = f"; phones of {people} user{'s' if people != 1 else ''}" if settings.phone is not None else ""
    click.echo(f"{config}: well-formed; accounts: {accounts}; FastAGI on port {settings.agi.port} of {listen}{phones}")
    if not settings.account:
        click.echo(f"{config}: warning: it has no [account.NAME]: every verb will say so")
    if settings.phone is not None and not settings.phone.user:
        click.echo(f'{config}: warning: it has no [phone.user."…"]: nobody has a phone')
    for name, account in settings.account.items():
        if account.accept_any_certificate:
            click.echo(
                f"{name}: warning: accept_any_certificate is on; anybody between here and the server can read and write"
            )
    if not online:
        return
    _no_log()
    from agi_xmpp.diagnose import check_account, check_asterisk, check_phone_service
    from agi_xmpp.features.phone.book.lookup import check_files as check_book

    async def run() -> list[bool]:
        accounts = (
            check_account(name, account, click.echo, settings.control.socket)
            for name, account in settings.account.items()
        )
        results = await asyncio.gather(*accounts)
        well = dict(zip(settings.account, results, strict=True))
        if settings.ami is not None:
            results.append(await check_asterisk(settings.ami, settings.phone, settings.conference, click.echo))
        if settings.phone is not None:  # not beside the logins: a component has one connection only
            if well[settings.phone.account]:
                results.append(await check_phone_service(settings, click.echo))
            else:
                click.echo(f"phones: not asked whether clients find them: see account {settings.phone.account} above")
            results.append(await check_book(settings.phone.book, click.echo))
        return results

    if not all(asyncio.run(run())):
        sys.exit(1)


@main.command(name="import", short_help="Turn Asterisk's xmpp.conf or jabber.conf into ours.")
@click.argument(
    "source", type=click.Path(path_type=Path, exists=True, dir_okay=False), default="/etc/asterisk/xmpp.conf"
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Where to write; default: standard output."
)
@click.option("--force", is_flag=True, help="Overwrite the output file if it exists.")
@_sentences
def import_(source: Path, output: Path | None, force: bool) -> None:
    """Turn Asterisk's xmpp.conf or jabber.conf into our configuration.

    What has no counterpart is listed with the reason, on stderr and as a comment in the file. The file holds the
    passwords of SOURCE; it is written readable for its owner only.
    """
    from agi_xmpp.xmpp_conf import convert, read

    result = convert(read(source))
    if output is None:
        click.echo(result.toml, nl=False)
    else:
        flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
        try:
            with os.fdopen(os.open(output, flags, 0o600), "w", encoding="utf-8") as file:
                os.fchmod(file.fileno(), 0o600)
                file.write(result.toml)
        except FileExistsError:
            raise ConfigError(f"{output} exists; --force overwrites it") from None
        except OSError as error:
            raise ConfigError(f"{output}: {error.strerror}") from None
    for note in result.notes:
        click.echo(f"note: {note}", err=True)
    if output is not None:
        click.echo(f"wrote {output}; now run: agi-xmpp check -c {output} --online", err=True)


@main.command(short_help="Send a message.")
@_config
@click.argument("account")
@click.argument("jid")
@click.argument("text")
@click.option("--receipt", is_flag=True, help="Wait for the addressee's receipt (XEP-0184), not only for the server.")
@click.option("--timeout", type=click.FloatRange(min=0.1), default=10.0, show_default=True, help="Seconds.")
@_sentences
def send(config: Path, account: str, jid: str, text: str, receipt: bool, timeout: float) -> None:
    """Send TEXT to JID from ACCOUNT; "-" takes the text from standard input.

    The running service sends it. Where none is running, this command logs in by itself.
    """
    from agi_xmpp.control import NoPermission, NoService, ask

    settings = load(config)
    name = settings.account_key(account)
    if name is None:
        raise UnknownAccount(f"no account {account!r} in {config} (known: {', '.join(settings.account) or 'none'})")
    if text == "-":
        text = sys.stdin.read().rstrip("\n")
    request = {"do": "send", "account": account, "to": jid, "text": text, "receipt": receipt, "timeout": timeout}
    try:
        answer = ask(settings.control.socket, request, timeout * 2 + 2)
        click.echo(answer["id"])
    except NoService as error:
        if isinstance(error, NoPermission) and settings.account[name].is_component:
            raise  # a second connection of the same component would take the service's messages
        click.echo(f"agi-xmpp: {error}; logging in to send it", err=True)
        _no_log()
        from agi_xmpp.diagnose import send_once

        click.echo(asyncio.run(send_once(name, settings.account[name], jid, text, receipt=receipt, timeout=timeout)))


@main.command(short_help="Tell many people something.")
@_config
@click.argument("subject")
@click.argument("text", required=False)
@click.option("--account", help="It comes from this one. Default: that of the phones, or the only one.")
@click.option("--to", multiple=True, metavar="JID", help="One of those who are told; may be repeated.")
@click.option("--all-users", is_flag=True, help="Tell everybody in the user map of [phone].")
@click.option("--buddies", is_flag=True, help="Tell all buddies of the account.")
@click.option("--timeout", type=click.FloatRange(min=0.1), default=10.0, show_default=True, help="Seconds for each.")
@_sentences
def notice(
    config: Path,
    subject: str,
    text: str | None,
    account: str | None,
    to: tuple[str, ...],
    all_users: bool,
    buddies: bool,
    timeout: float,
) -> None:
    """Send a notice to many people: SUBJECT, and TEXT, which "-" takes from standard input.

    Everybody who is online gets it, in every client; nothing is kept for the others. The running service sends it.
    Where none is running, this command logs in by itself. Exit code 1 if somebody could not be told.
    """
    settings = load(config)
    from agi_xmpp.features import notice as notices

    name = notices.account_of(settings, account)
    people = notices.addressees(settings, name, to, all_users=all_users, buddies=buddies)
    notices.check_subject(subject)
    text = sys.stdin.read().rstrip("\n") if text == "-" else text
    from agi_xmpp.diagnose import send_notice

    def say(sentence: str) -> None:
        click.echo(f"agi-xmpp: {sentence}", err=True)
        _no_log()

    report = asyncio.run(send_notice(settings, name, people, subject, text or subject, timeout=timeout, say=say))
    click.echo(f"sent to {report.sent} of {len(people)}; who is not online gets nothing")
    for sentence in (*report.refused, *([f"not sent to the others: {report.stopped}"] if report.stopped else [])):
        click.echo(f"agi-xmpp: {sentence}", err=True)
    if report.refused or report.stopped:
        sys.exit(1)


@main.command()
@_config
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@_sentences
def status(config: Path, as_json: bool) -> None:
    """Show how the running service is.

    Exit code 1 if an account is not online, if Asterisk's calls or conferences are not seen, if texts do not reach
    the phones of a room that needs them, or if the file is wrong by now: the service goes on by what it has read.
    """
    from agi_xmpp.control import NoService, ask

    socket, wrong = control_socket(config)
    try:
        answer = ask(socket, {"do": "status"})
    except NoService as error:
        raise wrong or error from None
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    else:
        _print_status(answer)
    if wrong is not None:
        click.echo(
            f"agi-xmpp: the service goes on by the file that it has read; it is wrong by now:\n{wrong}", err=True
        )
    parts = [*answer["accounts"], *([answer["ami"]] if answer.get("ami") else [])]
    if wrong is not None or not _serves_phones(answer) or any(part["state"] != "online" for part in parts):
        sys.exit(1)


@main.command(short_help="Take a mail of Asterisk's voicemail and deliver it in chat.")
@_config
def mailcmd(config: Path) -> None:
    """Deliver in chat the mail on standard input: mailcmd=/usr/local/bin/agi-xmpp mailcmd in voicemail.conf.

    Exit code 0 if somebody has it: the addressee, or who [voicemail] names for mails that cannot be delivered; else 75.
    """
    import syslog

    from agi_xmpp.control import ask
    from agi_xmpp.features.voicemail.mailcmd import TEMPORARY_FAILURE, deliver

    def say(sentence: str) -> None:
        click.echo(f"agi-xmpp mailcmd: {sentence}", err=True)
        syslog.syslog(syslog.LOG_ERR, sentence)  # Asterisk's standard error often leads nowhere

    syslog.openlog("agi-xmpp mailcmd", facility=syslog.LOG_MAIL)
    try:
        settings = load(config)
        raw = sys.stdin.buffer.read()  # without a limit: what is too large for chat is handed on, and whole
        socket = settings.control.socket
        code = deliver(raw, settings.voicemail, functools.partial(ask, socket), say)
    except (AgiXmppError, OSError) as error:
        say(str(error))
        code = TEMPORARY_FAILURE
    sys.exit(code)


@main.command(short_help="Show calls and phone events as they happen.")
@_config
@click.option("--json", "as_json", is_flag=True, help="For programs: one object a line.")
@click.option("--last", type=click.IntRange(min=0, max=1000), default=0, show_default=True, help="Older lines first.")
@_sentences
def watch(config: Path, as_json: bool, last: int) -> None:
    """Show each call of the people in the user map, and what they are told, as it happens. Ctrl-C ends it."""
    from agi_xmpp.control import NoAnswer, NoService, ask

    path, wrong = control_socket(config)
    try:
        newest = ask(path, {"do": "watch", "after": -1, "timeout": 0.0})["last"]
    except NoService as error:
        raise wrong or error from None
    number = max(newest - last, 0)
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            try:
                answer = ask(path, {"do": "watch", "after": number, "timeout": WATCH_TIMEOUT}, WATCH_TIMEOUT + 5.0)
            except NoAnswer:
                raise NoAnswer(f"the service at {path} has ended, or hangs") from None
            for line in answer["lines"]:
                at = time.strftime("%H:%M:%S", time.localtime(line["at"]))
                click.echo(json.dumps(line) if as_json else f"{at} {line['who']}: {line['text']}")
            number = answer["last"]


@main.command(short_help="Say what the phone book knows of a number.")
@_config
@click.argument("number")
@_sentences
def lookup(config: Path, number: str) -> None:
    """Ask each source of the phone book for NUMBER and show what it says, and how long it takes.

    Exit code 1 if a source cannot be asked.
    """
    settings = load(config)
    if settings.phone is None:
        raise ConfigError(f"{config} has no [phone], so there is no phone book")
    _no_log()
    from agi_xmpp.features.phone.book.lookup import report

    if not asyncio.run(report(settings.phone.book, number, click.echo)):
        sys.exit(1)


@main.command(short_help="Make a sample dialplan of a template.")
@click.argument("name", required=False)
@click.option("--list", "list_", is_flag=True, help="Show the templates.")
@click.option("--all", "all_", is_flag=True, help="Render all templates in all formats into the folder that -o names.")
@click.option("--variables", is_flag=True, help="Show what can be set in the template NAME.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="VARIABLE=VALUE",
    help="May be repeated; for a list, once for each item.",
)
@click.option("--format", "format_", type=click.Choice(["conf", "ael"]), default="conf", show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Where to write; default: standard output.")
@click.option("--force", is_flag=True, help="Overwrite what exists.")
@_sentences
def render(
    name: str | None,
    list_: bool,
    all_: bool,
    variables: bool,
    settings: tuple[str, ...],
    format_: str,
    output: Path | None,
    force: bool,
) -> None:
    """Make a sample dialplan of the template NAME: for extensions.conf, or for AEL.

    Start with --list; "subroutines" has one-line equivalents of JabberSend, JABBER_RECEIVE and the others.
    """
    from agi_xmpp import render as samples

    if list_:
        width = max(len(template.name) for template in samples.templates())
        for template in samples.templates():
            click.echo(f"{template.name:<{width}}  {template.title}")
        return
    values = samples.parse_settings(settings)
    if all_:
        if output is None or name is not None:
            raise RenderError("--all needs a folder by -o, and no NAME")
        for file, text in samples.render_all(values).items():
            _write(output / file, text, force)
        return
    if name is None:
        raise RenderError("which template? agi-xmpp render --list shows them")
    template = samples.find(name)
    if variables:
        click.echo(samples.describe(template))
    elif output is None:
        click.echo(samples.render(template, values, format_), nl=False)
    else:
        _write(output, samples.render(template, values, format_), force)


@main.command(short_help="Rewrite a dialplan that uses JabberSend and the like.")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write the new FILE there.")
@click.option("--in-place", is_flag=True, help="Write over FILE, and over what it includes; keep copies (*.bak).")
@click.option("--follow", is_flag=True, help="Also migrate the files that FILE includes.")
@click.option("--agi", "server", default="agi://127.0.0.1", show_default=True, help="Where Asterisk finds agi-xmpp.")
@click.option("--check", is_flag=True, help="Only say what there is to migrate; exit code 1 if there is anything.")
@click.option("--force", is_flag=True, help="Overwrite the output file if it exists.")
@_sentences
def migrate(
    file: Path, output: Path | None, in_place: bool, follow: bool, server: str, check: bool, force: bool
) -> None:
    """Rewrite an extensions.conf or AEL file that uses JabberSend, JABBER_RECEIVE and the like for agi-xmpp.

    Shows the difference, if it is not told to write. What was changed, and what a human must look at, goes to stderr.
    """
    from agi_xmpp.migrate import files

    if (output is not None) + in_place + check > 1:
        raise UsageError("-o, --in-place and --check exclude each other")
    if output is not None and follow:
        raise UsageError("-o takes one file, and --follow makes several; use --in-place")
    if output is not None and output.exists() and not force:
        raise UsageError(f"{output} exists; --force overwrites it")
    outcomes = files.migrate(file, server=server, follow=follow)
    for line in files.report(outcomes):
        click.echo(line, err=True)
    changed = [outcome for outcome in outcomes if outcome.changes]
    if check:
        sys.exit(1 if changed else 0)
    if output is not None:
        files.write(output, outcomes[0].after)
    for outcome in changed if output is None else ():
        if in_place:
            click.echo(f"{outcome.file}: the old one is {files.back_up(Path(outcome.file))}", err=True)
            files.write(Path(outcome.file), outcome.after)
        else:
            # As bytes: a file need not be UTF-8.
            click.echo(files.difference(outcome).encode("utf-8", "surrogateescape"), nl=False)


@main.command(short_help="Print what makes a shell complete our commands.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes SHELL complete our commands: eval "$(agi-xmpp completion bash)"."""
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - the choices above are click's own
    click.echo(kind(main, {}, "agi-xmpp", "_AGI_XMPP_COMPLETE").source())


def _write(path: Path, text: str, force: bool) -> None:
    if path.exists() and not force:
        raise RenderError(f"{path} exists; --force overwrites it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RenderError(f"{error.filename or path}: {error.strerror}") from None


def _serves_phones(answer: dict[str, Any]) -> bool:
    """Tell whether Asterisk is seen, and texts reach its phones, as far as that is wanted."""
    phone, conference = answer.get("phone"), answer.get("conference")
    if phone and not phone["in_sight"]:
        return False
    return not conference or (conference["in_sight"] and not any(room["texts_fail"] for room in conference["rooms"]))


def _print_status(answer: dict[str, Any]) -> None:
    now = time.time()
    agi = answer["agi"]
    click.echo(
        f"agi-xmpp {answer['version']}, pid {answer['pid']}, up {_span(now - answer['started'])}, {answer['config']}"
    )
    counts = ", ".join(f"{value} {name}" for name, value in agi.items() if name != "listen")
    click.echo(f"FastAGI {agi['listen']}: {counts}")
    for account in answer["accounts"]:
        line = f"{account['account']}: {account['state']} for {_span(now - account['since'])} as {account['jid']}"
        if account["state"] == "online":
            line += f", {account['tls'] or 'NOT ENCRYPTED'}" + (", resumable" if account["resumable"] else "")
        click.echo(line)
        if account["error"]:
            click.echo(f"  {account['error']}")
        click.echo(
            f"  logins: {account['connects']}; messages: {account['sent']} sent, {account['received']} received,"
            f" {account['unclaimed']} unclaimed; calls that wait: {account['waiting']}"
        )
        for room in account["rooms"]:
            click.echo(f"  {room['room']}: {room['state']} as {room['nick']}, {room['error'] or _people(room)}")
    if answer.get("ami"):
        _print_ami(answer["ami"], now)
    if answer.get("phone"):
        _print_phone(answer["phone"], now)
    if answer.get("conference"):
        _print_conference(answer["conference"])
    if answer.get("state"):
        click.echo(answer["state"])


def _print_ami(ami: dict[str, Any], now: float) -> None:
    version = f", manager interface {ami['version']}" if ami["version"] else ""
    click.echo(
        f"Asterisk at {ami['address']}: {ami['state']} for {_span(now - ami['since'])}{version};"
        f" logins: {ami['connects']}; events: {ami['events']}"
    )
    if ami["error"]:
        click.echo(f"  {ami['error']}")


def _print_phone(phone: dict[str, Any], now: float) -> None:
    calls = f"calls: {len(phone['calls'])}" if phone["in_sight"] else "calls: not known, Asterisk is out of sight"
    click.echo(f"phones: served by account {phone['account']} for {phone['users']} users; {calls}")
    for call in phone["calls"]:
        with_whom = " ".join(filter(None, (call["name"], call["number"]))) or "an unknown number"
        direction = "from" if call["incoming"] else "to"
        held = ", on hold" if call["held"] else ""
        click.echo(
            f"  {call['user']}: {call['phase']} {direction} {with_whom} on {call['device']}"
            f" for {_span(now - call['since'])}{held} ({call['id']})"
        )
    for problem in phone["problems"]:
        click.echo(f"  {problem}")


def _print_conference(conference: dict[str, Any]) -> None:
    rooms = conference["rooms"]
    click.echo(f"conferences: served by account {conference['account']}; rooms: {len(rooms)}")
    for room in rooms:
        click.echo(
            f"  {room['room']} ({room['title']}): {room['people']} in chat, {room['phones']} on phones;"
            f" texts: {room['texts']}{'; waits for its people' if room.get('waits') else ''}"
        )
    if conference["senders"] is not None:
        click.echo(f"  {_senders(conference['senders'])}")
    for problem in conference["problems"]:
        click.echo(f"  {problem}")


def _senders(senders: dict[str, Any]) -> str:
    last = "" if senders["last"] is None else f", the last one {_span(senders['last'])} ago"
    lost = f"; {senders['lost']} were lost" if senders["lost"] else ""
    strangers = f"; {senders['strangers']} datagrams from elsewhere were dropped" if senders["strangers"] else ""
    return f"copies of SIP packets at {senders['address']}: {senders['copies']}{last}{lost}{strangers}"


def _people(room: dict[str, Any]) -> str:
    count = room["occupants"]
    return "nobody else there" if count == 1 else f"{count} occupants"


def _span(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    shown = [f"{value} {unit}" for value, unit in parts if value][:2]
    return " ".join(shown) or "0 s"


def _log_to_stderr(level: str) -> None:
    # Under systemd the journal stamps each line itself, and takes the priority from the <N> in front (sd-daemon(3)).
    journal = "JOURNAL_STREAM" in os.environ
    handler = logging.StreamHandler()
    handler.setFormatter(
        _JournalFormatter() if journal else logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("agi_xmpp").setLevel(level.upper())


def _no_log() -> None:
    """The command's own sentences say it all: neither our log lines nor the library's stand between them."""
    for name in ("agi_xmpp", "aioxmpp"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


class _JournalFormatter(logging.Formatter):
    """Gives every line of a record its priority, so that a traceback stays with its error."""

    def __init__(self) -> None:
        super().__init__("%(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        priority = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}.get(record.levelno, 2)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).splitlines())


def _loop_factory(wanted: bool | None) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if wanted is False:
        return None
    try:
        import uvloop
    except ImportError:
        if wanted:
            raise ConfigError("uvloop is not installed; install agi-xmpp[uvloop]") from None
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
