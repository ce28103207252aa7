"""Following moved modules and files by name, and leaving the imports as ruff sorts them."""

# ruff: noqa: E501 - a table reads best with one case a line

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from blueprint.rename.import_lines import STATEMENT, arranged, read
from blueprint.rename.module_names import Renames, renames_by_project
from blueprint.rename.rewrite import rewrite
from tests.baking import tool

MOVES = (
    ("src/app/retellai/", "src/app/services/retellai/"),
    ("src/app/retellai/middleware.py", "src/app/middleware/retell.py"),
    ("src/app/retellai/types.py", "src/app/retellai/types.py"),
    ("src/app/routes/", "src/app/api/rest/"),
    ("src/app/bootstrap_b.py", "src/app/bootstrap.py"),
    ("src/app/package.py", "src/app/__init__.py"),
    ("README.b.md", "README.md"),
)
RENAMES = Renames(MOVES)


def followed(text: str, path: str = "src/app/handlers.py") -> str:
    """Return `text` with the moves followed, in a file that stays where it is."""
    new = RENAMES.paths.get(path, path)
    return rewrite(RENAMES, text, path, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("import app.retellai.client", "import app.services.retellai.client"),
        ("import app.retellai.client as c", "import app.services.retellai.client as c"),
        ("from app.retellai import client", "from app.services.retellai import client"),
        ("from app.retellai.client import A, b", "from app.services.retellai.client import A, b"),
        ("from app.retellai.client import A as B", "from app.services.retellai.client import A as B"),
        ("from app.retellai import *", "from app.services.retellai import *"),
        ("from app import retellai", "from app.services import retellai"),
        ("from app import retellai as r", "from app.services import retellai as r"),
        ("from app import bootstrap_b", "from app import bootstrap as bootstrap_b"),
        ("from app import package", "import app as package"),
        ("from app.retellai import middleware", "from app.middleware import retell as middleware"),
        ("from app.retellai import types", "from app.retellai import types"),
        (
            "from app.retellai import client, middleware, types",
            "from app.middleware import retell as middleware\n"
            "from app.retellai import types\n"
            "from app.services.retellai import client",
        ),
        ("from app import routes, settings", "from app import settings\nfrom app.api import rest as routes"),
        ("    from app.routes import x  # late", "    from app.api.rest import x  # late"),
        ("from app.retellai_x import y", "from app.retellai_x import y"),
        ("from my.app.retellai import y", "from my.app.retellai import y"),
        ("from .retellai.client import A", "from app.services.retellai.client import A"),
        ("from . import retellai", "from app.services import retellai"),
        ("from . import settings", "from . import settings"),
        ("from ..app import nothing_above", "from ..app import nothing_above"),
    ],
)  # fmt: skip
def test_every_form_of_import_follows_its_module(old: str, new: str):
    assert followed(f"{old}\n") == f"{new}\n"


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("src/app/routes/a.py", "from . import b", "from . import b"),
        ("src/app/routes/a.py", "from .b import c", "from .b import c"),
        ("src/app/routes/a.py", "from ..settings import C", "from app.settings import C"),
        ("src/app/routes/__init__.py", "from .b import c", "from .b import c"),
        ("src/app/retellai/middleware.py", "from .client import C", "from app.services.retellai.client import C"),
    ],
)  # fmt: skip
def test_a_relative_import_in_a_moved_file_still_leads_to_its_module(path: str, old: str, new: str):
    assert rewrite(RENAMES, f"{old}\n", path, moved(path)) == f"{new}\n"


def moved(path: str) -> str:
    """Return the new home of a path, by the longest move."""
    old, new = max((move for move in MOVES if path.startswith(move[0])), key=lambda m: len(m[0]))
    return new + path[len(old) :]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('x = "app.retellai.client:RetellClient"', 'x = "app.services.retellai.client:RetellClient"'),
        ("x = 'app.retellai'  # app.routes.x", "x = 'app.services.retellai'  # app.api.rest.x"),
        ('"""See ``app.retellai.client.A``\nand app.routes."""', '"""See ``app.services.retellai.client.A``\nand app.api.rest."""'),
        ('x = "src/app/retellai/client.py"', 'x = "src/app/services/retellai/client.py"'),
        ('x = "app.retellai_x", "my.app.retellai", "app.retellais"', 'x = "app.retellai_x", "my.app.retellai", "app.retellais"'),
        ('x = "src/app/retellai_x/", "other/src/app/retellai/"', 'x = "src/app/retellai_x/", "other/src/app/retellai/"'),
        ('x = r"app.retellai\\d" + "it\'s app.routes"', 'x = r"app.services.retellai\\d" + "it\'s app.api.rest"'),
    ],
)  # fmt: skip
def test_strings_comments_and_docstrings_are_followed_by_whole_words(old: str, new: str):
    assert followed(f"{old}\n") == f"{new}\n"


def test_an_attribute_that_only_looks_like_a_module_is_left():
    text = 'from fastapi import FastAPI\n\napp = FastAPI()\nprint(app.routes, f"{app.routes}")\n'
    assert followed(text) == text


def test_a_package_imported_by_name_is_followed_in_code():
    assert followed("import app.routes.a\n\nx = app.routes.a.y\n") == (
        "import app.api.rest.a\n\nx = app.api.rest.a.y\n"
    )


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("pyproject.toml", 'call = "app.retellai.client:main"', 'call = "app.services.retellai.client:main"'),
        ("compose.yaml", "command: python -m app.routes.a", "command: python -m app.api.rest.a"),
        ("Dockerfile", "COPY ./src/app/routes/ /x", "COPY ./src/app/api/rest/ /x"),
        ("docs/a.md", "`src/app/routes/a.py`", "`src/app/api/rest/a.py`"),
        ("docs/a.md", "src/app/routes/", "src/app/api/rest/"),
        ("docs/a.md", "src/app/routesmap, README.b.md", "src/app/routesmap, README.b.md"),
    ],
)  # fmt: skip
def test_other_text_files_are_followed_too(path: str, old: str, new: str):
    assert followed(old, path) == new


def test_windows_line_ends_are_kept():
    assert followed("from app.routes import a\r\nx = 1\r\n") == (
        "from app.api.rest import a\r\nx = 1\r\n"
    )


def test_imports_that_name_nothing_moved_are_left_as_they_are():
    text = "from app.z import b, a\nfrom app.a import (\n  c )\n\nfrom app.routes import x\n"
    assert followed(text) == text.replace("app.routes", "app.api.rest")


def test_comments_of_a_followed_import_stay_with_their_names():
    old = "import app.x\nfrom app.retellai import (\n    client,  # the wrapper\n    types,\n)\n"
    assert followed(old) == (
        "import app.x\nfrom app.retellai import types\n"
        "from app.services.retellai import (\n    client,  # the wrapper\n)\n"
    )


def test_imports_that_were_in_no_order_stay_where_they_are():
    assert followed("from app.retellai import client\nimport app.x\n") == (
        "from app.services.retellai import client\nimport app.x\n"
    )


def test_an_import_that_grew_too_long_is_written_one_name_a_line():
    names = ", ".join(f"name_{letter}" for letter in "abcdefgh")
    rows = "".join(f"    name_{letter},\n" for letter in "abcdefgh")
    assert followed(f"from app.retellai.client import {names}\n") == (
        f"from app.services.retellai.client import (\n{rows})\n"
    )


def test_a_project_inside_the_project_has_modules_of_its_own():
    moves = (("src/app/a/", "src/app/b/"), ("in/src/app/a/", "in/src/app/c/"))
    found = renames_by_project(
        moves, {"pyproject.toml": "", "in/pyproject.toml": "in/pyproject.toml"}
    )
    assert list(found) == ["in/", ""]
    assert found[""].module("app.a.x") == "app.b.x"
    assert found["in/"].module("app.a.x") == "app.c.x"


def test_most_files_are_known_not_to_name_anything_that_moved():
    assert not RENAMES.may_be_named_in("from app import settings\n\nx = settings.retellai\n")
    for text in (
        "from app import (\n    routes,\n)\n",
        "app.retellai",
        "src/app/routes/",
        "from .x",
    ):
        assert RENAMES.may_be_named_in(text)


def random_import(chance: random.Random) -> str:
    """Return one import statement of a small alphabet, so that neighbours are near each other."""
    modules = [
        "app",
        "app.a",
        "app.A",
        "app.a.b",
        "app.a_b",
        "app.ab",
        "app.a10",
        "app.a9",
        "app._p",
    ]
    names = ["x", "y", "X", "XY", "Xy", "x10", "x9", "_x", "A1", "A_", "a_b", "aB", "Ab"]
    module = chance.choice(modules)
    if chance.random() < 0.25:
        alias = " as k" if chance.random() < 0.5 else ""
        return f"import {module}{alias}\n"
    chosen = chance.sample(names, chance.randint(1, 4))
    parts = [f"{name} as {name}{name}" if chance.random() < 0.2 else name for name in chosen]
    if chance.random() < 0.2:
        return f"from {module} import (\n{''.join(f'    {part},{chr(10)}' for part in parts)})\n"
    return f"from {module} import {', '.join(parts)}\n"


def test_blocks_are_sorted_as_ruff_sorts_them(tmp_path: Path):
    chance = random.Random(7)  # noqa: S311 - the same blocks each time
    (tmp_path / "ruff.toml").write_text(
        'line-length = 100\nlint.select = ["I"]\nlint.isort.known-first-party = ["app"]\n'
    )
    blocks: list[str] = []
    for number in range(150):
        block = "".join(random_import(chance) for _ in range(chance.randint(2, 7)))
        (tmp_path / f"f{number}.py").write_text(block)
        blocks.append(block)
    subprocess.run((tool("ruff"), "check", "--fix", "--quiet", "--no-cache", tmp_path), check=True)
    for number, block in enumerate(blocks):
        statements = [read(match) for match in STATEMENT.finditer(block)]
        ours = "".join(statement.text() for statement in arranged(statements))
        assert ours == (tmp_path / f"f{number}.py").read_text(), block
