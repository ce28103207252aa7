"""Imports that lead nowhere after a merge are listed by file and line, and nothing else is."""

from __future__ import annotations

import pytest

from blueprint.regenerate.unresolved import Modules, find_unresolved

PROJECT = {
    "src/app/__init__.py": "",
    "src/app/types.py": (
        "class Call: ...\n\n\nLIMIT: int = 1\nfirst, (second, *rest) = 1, (2, 3)\n"
    ),
    "src/app/routes/__init__.py": "from app.types import Call as Called\n",
    "src/app/routes/calls.py": "async def create(): ...\n",
    "src/app/lazy.py": "def __getattr__(name): ...\n",
    "src/app/stars.py": "from app.types import *\n",
    "src/app/guarded.py": (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from app.types import Call\n"
        "try:\n    import uvloop\nexcept ImportError:\n    uvloop = None\n"
        "with open('x') as handle:\n    pass\n\n\n"
        "def start():\n    global started\n    started = 1\n"
    ),
    "src/app/namespace/inner.py": "X = 1\n",
    "src/app/stub.pyi": "class Stub: ...\n",
    "src/app/newer.py": "type this is no syntax yet\n",
    "dev/tools.py": "",
    "docs/no module.py": "",
}


def project(**more: str) -> dict[str, tuple[int, bytes]]:
    """Return the files of a project."""
    return {path: (0o644, text.encode()) for path, text in (PROJECT | more).items()}


def missing(text: str, path: str = "src/app/ours.py") -> list[tuple[int, str]]:
    """Return what a file of the project imports in vain."""
    modules = Modules(project(**{path: text}))
    return modules.missing(path, modules.roots)


@pytest.mark.parametrize(
    "text",
    [
        "import app.types",
        "import app.routes.calls as c",
        "from app import types, routes, namespace",
        "from app.types import Call, LIMIT, first, second, rest",
        "from app.routes import calls, Called",
        "from app.routes.calls import create",
        "from . import types\nfrom .types import Call\nfrom .routes import calls",
        "from app.lazy import anything",
        "from app.stars import anything",
        "from app.guarded import Call, uvloop, handle, started, TYPE_CHECKING",
        "from app.types import *",
        "from app.namespace.inner import X",
        "from app.stub import Stub",
        "from app.newer import anything",
        "from app.types import __doc__",
        "import json, dev.tools\nfrom other import thing",
        "try:\n    from app.gone import Call\nexcept ImportError:\n    Call = None",
    ],
)
def test_what_leads_somewhere_or_may_is_not_listed(text: str):
    assert missing(text) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import app.gone", [(1, "app.gone")]),
        ("import json\nimport app.gone.deep as d", [(2, "app.gone.deep")]),
        ("from app import gone", [(1, "app.gone")]),
        ("from app.types import Call, Gone", [(1, "app.types.Gone")]),
        ("from .types import Gone", [(1, "app.types.Gone")]),
        ("from .gone import Call", [(1, "app.gone.Call")]),
        ("def late():\n    from app.gone import Call", [(2, "app.gone.Call")]),
        ("if TYPE_CHECKING:\n    from app.types import Gone", [(2, "app.types.Gone")]),
        ("try:\n    import app.gone\nexcept ValueError:\n    pass", [(2, "app.gone")]),
        ("from app.routes.calls import start", [(1, "app.routes.calls.start")]),
    ],
)
def test_what_leads_nowhere_is_listed_with_its_line(text: str, found: list[tuple[int, str]]):
    assert missing(text) == found


def test_a_project_inside_the_project_has_modules_of_its_own():
    more = {
        "other-services/order/pyproject.toml": "",
        "other-services/order/src/app/main.py": "from app.orders import Order\n",
    }
    files = project(**more)
    assert find_unresolved(files, {}, {}, {}, lambda name, _: name) == []


def test_only_what_led_somewhere_before_is_listed():
    ours = "from app.types import Call, Gone, Never\n"
    before = project(
        **{"src/app/types.py": "class Call: ...\n\n\nclass Gone: ...\n", "src/app/ours.py": ours}
    )
    result = project(**{"src/app/mine.py": ours})
    found = find_unresolved(
        result, {}, before, {"src/app/mine.py": "src/app/ours.py"}, lambda name, _: name
    )
    assert [str(place) for place in found] == ["src/app/mine.py:1: app.types.Gone"]
    # What the template itself has so is no news.
    assert find_unresolved(result, result, before, {}, lambda name, _: name) == []
