"""Scripts written for pyst2 as routes of the service."""

from __future__ import annotations

import pytest

from agi_xmpp.config import ScriptRoute
from agi_xmpp.errors import ConfigError
from agi_xmpp.features.script import script_routes
from tests.unit.features.fakes import run


def routes(*pairs):
    return script_routes([ScriptRoute(path=path, callable=callable_) for path, callable_ in pairs])


def test_the_path_is_compared_without_slashes_at_its_ends():
    assert list(routes(("/ivr/balance/", "json:dumps"))) == ["ivr/balance"]


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ((("a", "no_such_module:main"),), "no_such_module"),
        ((("a", "json:no_such_function"),), "no callable no_such_function"),
        ((("a", "json:dumps"), ("/a", "json:loads")), "two scripts have the path 'a'"),
    ],
)
def test_what_cannot_be_loaded_is_named(pairs, words):
    with pytest.raises(ConfigError, match=words):
        routes(*pairs)


async def test_the_call_reaches_the_script(monkeypatch):
    seen = []

    async def run_pyst2(channel, function):
        seen.append((channel.environment.script, function("x")))

    monkeypatch.setattr("agi_xmpp.features.script.run_pyst2", run_pyst2)
    await run("ivr/balance", routes=routes(("ivr/balance", "json:dumps")))
    assert seen == [("ivr/balance", '"x"')]
