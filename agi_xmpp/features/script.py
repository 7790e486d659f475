"""``[[agi.script]]``: AGI scripts that were written for pyst2 run as routes of this service."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from agi_xmpp.agi.channel import Channel
from agi_xmpp.agi.pyst2 import Script, load_callable, run_pyst2
from agi_xmpp.config import ScriptRoute
from agi_xmpp.errors import ConfigError
from agi_xmpp.features.dispatch import Route


def script_routes(scripts: Iterable[ScriptRoute]) -> Mapping[str, Route]:
    """Import each script's callable and return the routes by path.

    Raises:
        ConfigError: a module or callable is not there, pyst2 is not installed, or two scripts have one path.
    """
    routes: dict[str, Route] = {}
    for script in scripts:
        path = script.path.strip("/")
        if path in routes:
            raise ConfigError(f"agi.script: two scripts have the path {path!r}")
        routes[path] = _route(load_callable(script.callable))
    return routes


def _route(function: Script) -> Route:
    async def run(channel: Channel) -> None:
        await run_pyst2(channel, function)

    return run
