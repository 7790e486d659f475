"""What tests of phones in a room of another service share."""

from __future__ import annotations

import pytest

from tests.unit.features.conference.garden import Scene


@pytest.fixture
def scene() -> Scene:
    """A garden whose stream has begun, with nobody in."""
    scene = Scene()
    scene.began()
    return scene
