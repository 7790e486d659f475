"""Runs AGI scripts that were written for pyst2, unchanged, inside of our FastAGI server.

pyst2 0.5.1 cannot serve FastAGI itself: its server does not import on Python 3, its ``AGI`` wants the main thread for
SIGHUP, writes text to a byte stream, echoes every line to stderr and does not escape what it sends. Here a script's
``AGI`` is `pyst2_agi.BridgedAgi`, and the script runs in a thread of its own.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

from agi_xmpp.agi.channel import Channel
from agi_xmpp.errors import AgiError, AgiHangup, ConfigError

#: Scripts that may run at once. Each costs a thread; verbs need none, so scripts never hold them up.
MAX_SCRIPTS: Final = 200

Script = Callable[..., object]

_slots = threading.BoundedSemaphore(MAX_SCRIPTS)


def load_callable(reference: str) -> Script:
    """Import a script's function.

    Args:
        reference: ``module:function``, or ``module:Class.method``.

    Raises:
        ConfigError: pyst2 is not installed, or there is no such module or function; the text says which.
    """
    _pyst2_agi().install()  # before the script's own "from asterisk.agi import AGI"
    module_name, _, path = reference.partition(":")
    try:
        target: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        found = error.name is not None and not f"{module_name}.".startswith(f"{error.name}.")
        reason = f"it needs {error.name}, which is not there" if found else "there is no such module"
        raise ConfigError(f"agi.script {reference}: module {module_name}: {reason}") from error
    except Exception as error:
        raise ConfigError(f"agi.script {reference}: module {module_name} fails at import: {error!r}") from error
    for name in path.split("."):
        target = getattr(target, name, None)
    if not callable(target):
        raise ConfigError(f"agi.script {reference}: module {module_name} has no callable {path}")
    if inspect.iscoroutinefunction(target):
        raise ConfigError(f"agi.script {reference}: {path} is a coroutine function; scripts for pyst2 are plain ones")
    script: Script = target
    return script


async def run_pyst2(channel: Channel, function: Script) -> None:
    """Run a script for one call.

    A function that needs an argument gets the ``AGI`` object; one without makes its own, as programs do
    (``agi = AGI()``). ``sys.exit()`` ends it. A script that goes on after its call was ended is left alone; its next
    command raises pyst2's ``AGIHangup``.

    Args:
        channel: the call.
        function: from `load_callable`.

    Raises:
        ConfigError: pyst2 is not installed.
        AgiHangup: the caller hung up and the script let that end it.
        AgiError: `MAX_SCRIPTS` run already, or the script ended with an exit code other than 0.
        Exception: what else the script raised.
    """
    pyst2_agi = _pyst2_agi()
    bridge = pyst2_agi.Bridge(channel, asyncio.get_running_loop())
    if not _slots.acquire(blocking=False):
        raise AgiError(f"{MAX_SCRIPTS} pyst2 scripts run already")
    done: Future[None] = Future()
    # A daemon: a script that hangs in something of its own must not keep the service from stopping.
    thread = threading.Thread(
        target=_run_in_thread, args=(bridge, function, done), name=f"pyst2 {channel.id}", daemon=True
    )
    try:
        thread.start()
    except RuntimeError:
        _slots.release()
        raise
    try:
        # Shielded, so that a script that outlives its handler can still say how it ended, to nobody.
        await asyncio.shield(asyncio.wrap_future(done))
    except Exception as error:
        if pyst2_agi.is_hangup(error):
            raise AgiHangup(f"the caller hung up: {error}") from error
        raise


def _run_in_thread(bridge: Any, function: Script, done: Future[None]) -> None:
    from agi_xmpp.agi.pyst2_agi import BridgedAgi, current_bridge

    current_bridge.set(bridge)
    outcome: BaseException | None = None
    try:
        function(*([BridgedAgi()] if _needs_argument(function) else []))
    except SystemExit as error:
        if error.code not in {None, 0}:
            outcome = AgiError(f"the script ended with exit code {error.code}")
    except BaseException as error:  # whatever a script raises is its caller's to see, and no end of ours
        outcome = error
    _slots.release()  # before anybody hears of the end: who then starts another script finds the slot free
    if outcome is None:
        done.set_result(None)
    else:
        done.set_exception(outcome)


def _needs_argument(function: Script) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return True
    positional = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
    return any(parameter.kind in positional and parameter.default is parameter.empty for parameter in parameters)


def _pyst2_agi() -> Any:
    try:
        from agi_xmpp.agi import pyst2_agi
    except ModuleNotFoundError as error:
        raise ConfigError(f"a script for pyst2 needs the module {error.name}; install agi-xmpp[pyst2]") from error
    return pyst2_agi
