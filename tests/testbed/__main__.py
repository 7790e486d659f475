"""``scripts/testbed``: builds the real parts, and keeps some running to play with."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys

import click

from tests.testbed import rootfs as trees
from tests.testbed.asterisk import Asterisk
from tests.testbed.errors import TestbedError
from tests.testbed.xmpp import Ejabberd, Options, Prosody, XmppServer

_SUITE = click.argument("suite", type=click.Choice(list(trees.PACKAGES)), default="testing")
_ACCOUNTS = ("pbx", "ann", "bob")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Real Asterisk and real XMPP servers for tests and the demo.

    They are Debian's own packages in a directory of their own (debootstrap, chroot) below ~/.cache/agi-xmpp, about
    0.8 GB, run on 127.0.0.1 and high ports. It needs root. Nothing is installed on the machine itself but debootstrap.
    """


@main.command()
@_SUITE
def build(suite: str) -> None:
    """Build SUITE if it is not there yet (about a minute): testing, or bullseye for Asterisk 16."""
    tree = trees.build(suite, trees.say)
    click.echo(f"{tree.path}: {_versions(tree)}")


@main.command()
def info() -> None:
    """Show what is built, with the versions of the parts."""
    for suite in trees.PACKAGES:
        tree = trees.find(suite)
        if tree is None:
            click.echo(f"{suite}: not built (scripts/testbed build {suite})")
            continue
        click.echo(f"{suite}: {tree.path}")
        click.echo(f"  {_versions(tree)}")


@main.command()
@_SUITE
def run(suite: str) -> None:
    """Keep servers running until ^C, with accounts to play with."""
    tree = trees.build(suite, trees.say)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_keep_running(tree))


@main.command()
def clean() -> None:
    """Delete everything that was built."""
    trees.clean(click.echo)


async def _keep_running(tree: trees.Rootfs) -> None:
    async with contextlib.AsyncExitStack() as stack:
        servers: list[XmppServer] = []
        if "prosody" in tree.versions():
            # Domains that differ, so that one client can have accounts on both.
            for make, domain in ((Prosody, "prosody.test"), (Ejabberd, "ejabberd.test")):
                servers.append(await stack.enter_async_context(make(tree, Options(domain=domain))))
        asterisk = await stack.enter_async_context(Asterisk(tree))
        for server in servers:
            for user in _ACCOUNTS:
                await server.add_user(user, user)
            click.echo(_describe_server(server))
        click.echo(_describe_asterisk(asterisk))
        click.echo("^C ends all of it.")
        await asyncio.Event().wait()


def _describe_server(server: XmppServer) -> str:
    accounts = ", ".join(f"{user}@{server.domain}" for user in _ACCOUNTS)
    return f"""
{server.label}: {accounts}; each password is the user's name
  127.0.0.1:{server.port} (STARTTLS), :{server.direct_tls_port} (direct TLS), CA {server.ca_file}
  component {server.component_domain}: port {server.component_port}, secret {server.component_secret}
  log {server.log_file}

  [account.pbx]
  jid = "pbx@{server.domain}"
  password = "pbx"
  server = "127.0.0.1"
  port = {server.port}
  ca_file = "{server.ca_file}"
  buddies = ["bob@{server.domain}"]
"""


def _describe_asterisk(asterisk: Asterisk) -> str:
    configuration = asterisk.log_file.parent.parent / "etc"
    inside = "/" + str((configuration / "asterisk.conf").relative_to(asterisk.rootfs.path))
    console = f"chroot {asterisk.rootfs.path} asterisk -C {inside} -r"
    return f"""{asterisk.label}: dialplan in {configuration}/extensions.conf
  console: {console}
  a call: {console}x 'channel originate Local/EXTEN@CONTEXT application Wait 60'
  manager (AMI): 127.0.0.1:{asterisk.ami_port}, user {asterisk.ami_user}, secret {asterisk.ami_secret}
  log {asterisk.log_file}
"""


def _versions(tree: trees.Rootfs) -> str:
    return ", ".join(f"{name} {version}" for name, version in tree.versions().items())


if __name__ == "__main__":
    if shutil.which("unshare") is None:
        sys.exit("scripts/testbed: this needs Linux with util-linux (unshare)")
    try:
        main(prog_name="scripts/testbed", standalone_mode=True)
    except TestbedError as error:
        sys.exit(f"scripts/testbed: {error}")
