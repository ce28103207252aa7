"""The start of the app, or one line that says why it does not start."""

import json
import re
import signal
import socket
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from pydantic_settings import BaseSettings

from app.__main__ import main
from app.settings import Settings, SettingsError
from tests.support.processes import ROOT, STOPPED, lines_until, run, start
from tests.support.requests import CALL
from tests.support.settings import WRONG_SETTINGS
from tests.support.simulator import API_KEY, RETELL_KEY, Simulator
from tests.support.waiting import LIMIT_SECONDS, until


def become(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Give this process the environment of one that is to be the app."""
    monkeypatch.chdir(environment["PWD"])
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(("changes", "named"), WRONG_SETTINGS)
def test_a_wrong_setting_is_named_in_one_line_and_the_app_does_not_start(
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, str],
    named: str,
) -> None:
    become(environment | changes, monkeypatch)

    with pytest.raises(SettingsError) as refusal:
        main()

    # Python prints it, and ends the process.
    said = str(refusal.value)
    assert refusal.value.code == said
    assert len(re.findall(rf"^  {named}: ", said, re.M)) == 1
    assert len(said.splitlines()) == 2
    assert RETELL_KEY not in said


def test_missing_settings_are_all_named_at_once(environment: dict[str, str]) -> None:
    del environment["RETELL_API_KEY"], environment["API_KEYS"]

    status, output = run(environment)

    assert status != 0
    assert "  RETELL_API_KEY: " in output
    assert "  API_KEYS: " in output
    assert "Traceback" not in output


def test_an_empty_variable_is_as_good_as_none_and_blanks_around_a_key_do_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in Settings.model_fields:
        monkeypatch.setenv(name.upper(), "")
    monkeypatch.setenv("RETELL_API_KEY", " key_1\n")
    monkeypatch.setenv("API_KEYS", "one , two")
    monkeypatch.setenv("LOG_LEVEL", "INFO")

    settings = Settings(_env_file=None)

    assert settings.retell_api_key.get_secret_value() == "key_1"
    assert [key.get_secret_value() for key in settings.api_keys] == ["one", "two"]
    assert settings.host == "127.0.0.1"
    assert settings.allowed_countries == ["US"]
    assert settings.log_level == "info"


def test_a_full_port_is_named_in_one_line(
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        become(environment | {"PORT": port}, monkeypatch)

        assert main() == 1

    said = f"Cannot listen on 127.0.0.1:{port} (Address already in use): set HOST or PORT\n"
    assert capsys.readouterr() == ("", said)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"RETELL_API_KEY": "key_wrong"}, "retell_key_refused"),
        ({"RETELL_BASE_URL": "http://127.0.0.1:9"}, "retell_not_reached"),
    ],
)
def test_trouble_at_retell_is_told_in_one_line_and_the_app_serves_on(
    environment: dict[str, str], changes: dict[str, str], said: str
) -> None:
    with start(environment | changes) as process:
        try:
            output = list(lines_until(process, said))
        finally:
            process.send_signal(signal.SIGTERM)
        output += process.communicate(timeout=LIMIT_SECONDS)[0].splitlines()

    assert process.returncode in STOPPED
    assert sum(said in line for line in output) == 1
    assert "Traceback" not in "".join(output)
    assert "key_wrong" not in "".join(output)


def test_a_request_under_way_is_finished_when_the_app_is_stopped(
    environment: dict[str, str], simulator: Simulator
) -> None:
    simulator.fail("create_phone_call", "latency", seconds=1)
    with start(environment | {"RETELL_FROM_NUMBER": "+14155550100"}) as process:
        *_, serving = lines_until(process, '"serving"')
        port = json.loads(serving)["port"]
        list(lines_until(process, "startup complete"))
        headers = {"Authorization": f"Bearer {API_KEY}"}
        url = f"http://127.0.0.1:{port}/api/calls"
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(httpx.post, url, json=CALL, headers=headers, timeout=LIMIT_SECONDS)
            until(lambda: simulator.requests("create_phone_call"), what="the request to Retell")
            process.send_signal(signal.SIGTERM)
            assert answer.result().status_code == 201
        process.communicate(timeout=LIMIT_SECONDS)

    assert process.returncode in STOPPED
    assert len(simulator.rings()) == 1


def test_every_setting_is_explained_in_the_example_file() -> None:
    text = (ROOT / ".env.example").read_text()
    explained = set(re.findall(r"^#? ?([A-Z][A-Z0-9_]+)=", text, re.M))
    own = [one for one in BaseSettings.__subclasses__() if one.__module__.startswith("app.")]

    assert Settings in own
    names = {name.upper() for one in own for name in one.model_fields}
    assert names <= explained
    assert all(name.startswith(("OTEL_", "POSTGRES_")) for name in explained - names)
