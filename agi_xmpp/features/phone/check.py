"""Whether Asterisk knows the phones, and whether clients find them: for `agi-xmpp check --online`.

Clients of the phone protocol ask their own server for its services and take the one that is named ``phone``, whatever
its address (Proto-JEP "Phone Integration", section "Disco"). What the server lacks is said in its own configuration's
words.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from agi_xmpp.ami.model import Message
from agi_xmpp.config import AccountSettings, PhoneSettings
from agi_xmpp.errors import AgiXmppError, AmiRefused
from agi_xmpp.features.phone.people import People
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Jid, Service

#: The name that clients look for, in exactly these letters.
NAME = "phone"

#: Domains of users that are asked at the most: one is the rule.
DOMAINS = 5

#: Devices and extensions that are named at the most: with a wrong context, or the user map of another Asterisk, all are
#: wrong in the same way.
NAMED = 10


class Manager(Protocol):
    """What checks need of `agi_xmpp.ami.model.Ami`."""

    async def action(self, name: str, headers: Mapping[str, str] | None = None) -> Message:
        """See `Ami.action`."""

    async def items(self, name: str, headers: Mapping[str, str] | None = None) -> Sequence[Message]:
        """See `Ami.items`."""


async def check_exchange(settings: PhoneSettings, ami: Manager, say: Callable[[str], None]) -> bool:
    """Ask Asterisk whether it knows what the configuration names, and say what it does not. True if all is well.

    Args:
        settings: ``[phone]``.
        ami: logged in, with all rights.
        say: gets each line.

    Raises:
        AmiNotConnected, AmiUnknown: the connection broke.
    """
    problems = []
    try:
        await ami.items("DeviceStateList")
    except AmiRefused as error:
        problems.append(f"which phones can be reached is not known: {error}")
    people = People(settings)
    context, extensions = settings.context, {person.extension: person for person in people}
    if await value_of(ami, f"DIALPLAN_EXISTS({context})") == "0":
        problems.append(f'Asterisk has no context {context} (phone.context): asterisk -rx "dialplan show" lists them')
        extensions.clear()
    # Asterisk says so of what no driver has; a phone that is only switched off is UNAVAILABLE.
    unknown = [
        f"{person.jid}: Asterisk knows no device {device}"
        for person in people
        for device in person.devices
        if await value_of(ami, f"DEVICE_STATE({device})") == "INVALID"
    ]
    unknown += [
        f"{person.jid}: context {context} has no extension {extension}"
        for extension, person in extensions.items()
        if await value_of(ami, f"DIALPLAN_EXISTS({context},{extension},1)") == "0"
    ]
    problems += unknown[:NAMED]
    if len(unknown) > NAMED:
        problems.append(f"and {len(unknown) - NAMED} more devices and extensions that Asterisk does not know")
    for problem in problems:
        say(f"phones: FAILED: {problem}")
    if not problems:
        say(f"phones: Asterisk knows all devices, and all extensions in the context {context}")
    return not problems


async def value_of(ami: Manager, function: str) -> str:
    """Return the value of a function of the dialplan; "" if this Asterisk has no such function."""
    try:
        return (await ami.action("Getvar", {"Variable": function})).get("Value", "")
    except AmiRefused:
        return ""


async def check_phones(
    settings: PhoneSettings,
    account: AccountSettings,
    services: Callable[[str], Awaitable[Sequence[Service]]],
    say: Callable[[str], None],
) -> bool:
    """Ask the servers of the users whether they list us, and say what is missing. Returns False if one cannot be asked.

    Not to be listed is no failure: clients other than Spark need it not, and ejabberd cannot do it.

    Args:
        settings: ``[phone]``.
        account: the one that serves the phones.
        services: asks a server's domain.
        say: gets each line.
    """
    people = People(settings)
    address = parse(account.jid)
    ours = Jid("", address.domain) if account.is_component else address
    well = True
    if not account.is_component and not address.resource:
        ours = Jid(address.local, address.domain, "asterisk")
        say(
            f"phones: note: account {settings.account} needs a resource in its jid, such as {ours}:"
            " Spark is told the whole address"
        )
    domains = sorted({person.jid.domain for person in people})
    for domain in domains[:DOMAINS]:
        try:
            listed = [service.jid for service in await services(domain) if service.name == NAME]
        except AgiXmppError as error:
            say(f"phones: FAILED: {domain} does not say which services it has: {error}")
            well = False
            continue
        if ours in listed:
            say(f"phones: {domain} lists {ours} as {NAME}: Spark finds it")
        elif listed:
            others = ", ".join(map(str, listed))
            say(f"phones: note: {domain} lists {others} as {NAME}, which Spark will take, and not {ours}.")
            _advise(ours, domain, say)
        else:
            say(f"phones: note: {domain} lists no service named {NAME}: Spark will show no phone.")
            _advise(ours, domain, say)
    return well


def _advise(ours: Jid, domain: str, say: Callable[[str], None]) -> None:
    say("  What to write into the configuration of the XMPP server:")
    for line in advice(ours, domain):
        say(f"  {line}")


def advice(ours: Jid, domain: str) -> list[str]:
    """Return what to write into a server's configuration so that it lists us.

    Args:
        ours: the address that it shall list.
        domain: the server's.
    """
    under_host = [f'Prosody, below VirtualHost "{domain}":', f'    disco_items = {{ {{ "{ours}", "{NAME}" }} }}']
    if ours.local:
        return [
            *under_host,
            "ejabberd, Openfire: they cannot list an account by a name; use a component (docs/phone.md)",
        ]
    # Prosody lists a component by itself where it is a subdomain of the users' domain.
    is_below = ours.domain.endswith(f".{domain}")
    return [
        *([f'Prosody, below Component "{ours}":', f'    name = "{NAME}"'] if is_below else under_host),
        "Openfire: it takes the name from us when the component connects: restart agi-xmpp",
        "ejabberd: it lists components without a name, so Spark cannot find us; everything else works",
    ]
