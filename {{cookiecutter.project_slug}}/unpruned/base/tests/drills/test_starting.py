"""The app does not start: as a process of its own says so."""

import re
import socket

import pytest

from tests.support.processes import run
from tests.support.settings import WRONG_SETTINGS
from tests.support.simulator import RETELL_KEY


@pytest.mark.parametrize(("changes", "named"), WRONG_SETTINGS)
def test_a_wrong_setting_is_named_in_one_line_and_the_app_does_not_start(
    environment: dict[str, str], changes: dict[str, str], named: str
) -> None:
    status, output = run(environment | changes)

    assert status != 0
    assert len(re.findall(rf"^  {named}: ", output, re.M)) == 1
    assert len(output.strip().splitlines()) == 2
    assert "Traceback" not in output
    assert RETELL_KEY not in output


def test_a_full_port_is_named_in_one_line(environment: dict[str, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        status, output = run(environment | {"PORT": port})

    assert status == 1
    assert output.strip().splitlines() == [
        f"Cannot listen on 127.0.0.1:{port} (Address already in use): set HOST or PORT"
    ]
