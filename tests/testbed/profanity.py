"""profanity, a chat client that people use, in a terminal of its own (tmux) that we can type into and read."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shlex
import subprocess

from tests.testbed.errors import TestbedError
from tests.testbed.program import journal
from tests.testbed.rootfs import RunDirectory, ensure_program
from tests.testbed.xmpp import XmppServer

#: Seconds between two looks at the screen: nothing tells us when it changes.
_LOOK = 0.05
#: Width and height of the terminal.
SIZE = (100, 30)


class Profanity:
    """One profanity that is logged in. Use it by ``async with``.

    Args:
        server: where the account is; on this machine, so that its certificate is taken as it is.
        jid, password: of the account.
        chat_with: bare JID whose chat window is opened.
    """

    def __init__(self, server: XmppServer, jid: str, password: str, chat_with: str = "") -> None:
        self.server = server
        self.jid = jid
        self.chat_with = chat_with
        self._password = password
        self._stack = contextlib.ExitStack()
        # A tmux server of our own: the user's sessions and settings have nothing to do with it.
        self._tmux = ["tmux", "-L", f"agi-xmpp-{secrets.token_hex(4)}", "-f", "/dev/null"]

    async def __aenter__(self) -> Profanity:
        await asyncio.to_thread(ensure_program, "tmux")
        try:
            directory = self._stack.enter_context(self.server.rootfs.run_directory("profanity", "games"))
            # With profanity ends the whole terminal, also a second pane.
            command = f"{shlex.join(self._command(directory))}; {shlex.join([*self._tmux, 'kill-server'])}"
            width, height = (str(number) for number in SIZE)
            self._run("new-session", "-d", "-x", width, "-y", height, command)
            self._stack.callback(self._kill)
            self._run("set-option", "-g", "status", "off")
            await self.shows("logged in successfully", timeout=20)
            if self.chat_with:
                self.type(f"/msg {self.chat_with}")
                await self.shows(f"{self.chat_with}")
            journal().started.add(f"profanity {self.server.rootfs.versions()['profanity']}")
        except BaseException:
            self._stack.close()
            raise
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._stack.close()

    async def join(self, room: str, nick: str, *, password: str = "") -> str:
        """Enter a room, and return the screen that says so; its window is open then.

        Args:
            room: bare JID.
            nick: wanted.
            password: of the room.
        """
        self.type(f'/join {room} nick "{nick}"' + (f' password "{password}"' if password else ""))
        return await self.shows("You have joined the room as")

    async def execute(self, node: str, jid: str, opens: str, timeout: float = 10.0) -> str:
        """Execute a command (XEP-0050), and return the screen that shows ``opens``.

        Right after its login profanity refuses that: it does not know yet what its server can do. Then it is typed
        again, as people would.

        Raises:
            AssertionError: the screen does not show it within ``timeout`` seconds.
        """
        refused = "Server does not support ad hoc commands"
        for _ in range(3):
            self.type("/clear")
            self.type(f"/cmd exec {node} {jid}")
            screen = await self.shows(opens, timeout, otherwise=refused)
            if opens in screen:
                return screen
        raise AssertionError(f"profanity goes on to say: {refused}")

    def type(self, text: str) -> None:
        """Type a line and press Enter."""
        self._run("send-keys", "-l", text)
        self._run("send-keys", "Enter")

    def screen(self) -> str:
        """Return what the terminal shows now."""
        return self._run("capture-pane", "-p").rstrip()

    async def shows(self, text: str, timeout: float = 10.0, *, otherwise: str = "") -> str:
        """Wait until the terminal shows ``text``, or ``otherwise`` if given, and return the whole screen.

        Raises:
            AssertionError: it does not within ``timeout`` seconds; the message has the screen.
        """
        try:
            async with asyncio.timeout(timeout):
                while text not in (screen := self.screen()) and not (otherwise and otherwise in screen):
                    await asyncio.sleep(_LOOK)
        except TimeoutError:
            raise AssertionError(f"profanity does not show {text!r} but:\n{self.screen()}") from None
        return screen

    def split(self, *command: str) -> None:
        """Show what ``command`` prints in a second pane above."""
        self._run("split-window", "-b", "-d", "-l", "35%", shlex.join(command))

    def attach(self) -> None:
        """Give the user's terminal to profanity until it ends (``/quit``) or the user detaches."""
        subprocess.run([*self._tmux, "attach-session"], check=False)

    def _command(self, directory: RunDirectory) -> list[str]:
        directory.write("home/.config/profanity/profrc", "[notifications]\nmessage=off\n[ui]\nsplash=false\n")
        directory.write(
            "home/.local/share/profanity/accounts",
            f"[me]\nenabled=true\njid={self.jid}\nresource=profanity\nserver=127.0.0.1\nport={self.server.port}\n"
            # The server is ours and on this machine; its CA is made anew each time, and nobody is asked about it.
            f"password={self._password}\ntls.policy=trust\n",
        )
        home = str(directory.inside / "home")
        settings = [f"HOME={home}", "TERM=screen-256color", "LANG=C.UTF-8"]
        return self.server.rootfs.command("env", *settings, "profanity", "-a", "me", user="games")

    def _run(self, *words: str) -> str:
        result = subprocess.run([*self._tmux, *words], capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise TestbedError(f"tmux {words[0]}: {result.stderr.strip() or 'failed'}")
        return result.stdout

    def _kill(self) -> None:
        with contextlib.suppress(TestbedError):  # its user ended it
            self._run("kill-server")
