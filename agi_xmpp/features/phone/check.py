"""Whether clients find the phones: for `agi-xmpp check --online`.

Clients of the phone protocol ask their own server for its services and take the one that is named ``phone``, whatever
its address (Proto-JEP "Phone Integration", section "Disco"). What the server lacks is said in its own configuration's
words.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from agi_xmpp.config import AccountSettings, PhoneSettings
from agi_xmpp.errors import AgiXmppError
from agi_xmpp.features.phone.people import People
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Jid, Service

#: The name that clients look for, in exactly these letters.
NAME = "phone"

#: Domains of users that are asked at the most: one is the rule.
DOMAINS = 5


async def check_phones(
    settings: PhoneSettings,
    account: AccountSettings,
    services: Callable[[str], Awaitable[Sequence[Service]]],
    say: Callable[[str], None],
) -> bool:
    """Ask the servers of the users whether they list us, and say what is missing. Returns True if all is well.

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
        say(
            f"phone: account {settings.account} needs a resource in its jid, such as {address}/asterisk:"
            " clients are told the whole address"
        )
        well = False
    domains = sorted({person.jid.domain for person in people})
    for domain in domains[:DOMAINS]:
        try:
            listed = [service.jid for service in await services(domain) if service.name == NAME]
        except AgiXmppError as error:
            say(f"phone: FAILED: {domain} does not say which services it has: {error}")
            well = False
            continue
        if ours in listed:
            say(f"phone: {domain} lists {ours} as {NAME}: Spark finds it")
        elif listed:
            say(f"phone: note: {domain} lists {', '.join(map(str, listed))} as {NAME}, and not {ours}")
            well = False
        else:
            say(f"phone: note: {domain} lists no service named {NAME}: Spark will show no phone. What to write there:")
            for line in advice(ours, domain):
                say(f"  {line}")
            well = False
    return well


def advice(ours: Jid, domain: str) -> list[str]:
    """Return what to write into a server's configuration so that it lists us.

    Args:
        ours: the address that it shall list.
        domain: the server's.
    """
    if ours.local:
        return [
            f'Prosody, below VirtualHost "{domain}":',
            f'    disco_items = {{ {{ "{ours}", "{NAME}" }} }}',
            "ejabberd, Openfire: they cannot list an account by a name; use a component (docs/phone.md)",
        ]
    return [
        f'Prosody, below Component "{ours}":',
        f'    name = "{NAME}"',
        "Openfire: it takes the name from us when the component connects: restart agi-xmpp",
        "ejabberd: it lists components without a name, so Spark cannot find us; everything else works",
    ]
