"""The console's settings: off unless asked for, and only with what it needs."""

import pytest

from clarion_kit.settings import FaultySettings, load
from clarion_tracker.settings import Settings

ENV = {
    "CLARION_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
    "CLARION_KEK_FILE": "kek.json",
    "CLARION_INSECURE": "1",
    "CLARION_HTTP_LISTEN": "127.0.0.1:0",
    "CLARION_LINK_KEY_FILE": "link.key",
    "CLARION_CONSOLE": "1",
}
TRACE_URL = "https://jaeger.example/trace/{trace_id}"


def test_console_is_off_unless_it_is_asked_for() -> None:
    assert load(Settings, {**ENV, "CLARION_TRACE_URL": TRACE_URL}).console
    assert not load(Settings, {name: value for name, value in ENV.items() if name != "CLARION_CONSOLE"}).console


@pytest.mark.parametrize("missing", ["CLARION_HTTP_LISTEN", "CLARION_LINK_KEY_FILE"])
def test_console_needs_its_door_and_its_key(missing: str) -> None:
    with pytest.raises(FaultySettings, match=f"CLARION_CONSOLE: needs {missing}"):
        load(Settings, {name: value for name, value in ENV.items() if name != missing})


@pytest.mark.parametrize("url", ["https://jaeger.example/", "javascript:alert('{trace_id}')", 'https://a/{trace_id}">'])
def test_trace_url_is_an_address_with_the_trace_in_it(url: str) -> None:
    with pytest.raises(FaultySettings, match="CLARION_TRACE_URL"):
        load(Settings, {**ENV, "CLARION_TRACE_URL": url})
