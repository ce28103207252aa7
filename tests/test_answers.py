"""Hostile answers: refused by name with nothing left on disk, or baked exactly as given."""

# ruff: noqa: RUF001 - names in other scripts are meant

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from blueprint.bake.answers import REFUSED_SLUG, SLUG_AS_ANSWERED, validate
from blueprint.bake.pre_hook import requirements
from blueprint.bake.reserved_names import dependencies, normal, why_taken
from blueprint.errors import AnswersRefusedError
from tests.baking import (
    NASTY_DESCRIPTION,
    NASTY_NAME,
    RENDERED,
    ROOT,
    TREE,
    VARIANTS,
    User,
    record_of,
    snapshot,
)

PYPROJECT = requirements(str(ROOT))
GOOD = {
    "project_name": "Voice App",
    "project_slug": "voice-app",
    "description": "Places calls.",
    "variant": "monolith",
}


def refusal(**answers: object) -> str:
    """Return why the good answers with these in their place are refused; empty if they are not."""
    try:
        validate({**GOOD, **answers}, ["monolith"], PYPROJECT)
    except AnswersRefusedError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("answer", "value", "why"),
    [
        ("project_name", "", "it needs at least one letter or digit"),
        ("project_name", "   ", "it needs at least one letter or digit"),
        ("project_name", "🎙️🎙️", "it needs at least one letter or digit"),
        ("project_name", "x" * 300, "it has 300 characters, and at most 60 are possible"),
        ("project_name", "two\nlines", "one line of printable characters"),
        ("project_name", "a\ttab", "one line of printable characters"),
        ("project_name", "a\x00b", "one line of printable characters"),
        ("project_name", "a\u202eb", "one line of printable characters"),
        ("project_name", "a\udc80b", "one line of printable characters"),
        ("project_name", "a {{ b }}", "mark {{ cannot be part of it"),
        ("project_name", "a {% b %}", "mark {% cannot be part of it"),
        ("project_name", "a {# b #}", "mark {# cannot be part of it"),
        ("project_name", 7, "it must be text"),
        ("project_name", None, "it must be text"),
        ("project_slug", "", "lower-case letters and digits"),
        ("project_slug", "My App", "the first a letter, such as 'my-app'"),
        ("project_slug", "my_app", "the first a letter, such as 'my-app'"),
        ("project_slug", "-x", "such as 'x'"),
        ("project_slug", "x-", "such as 'x'"),
        ("project_slug", "a--b", "such as 'a-b'"),
        ("project_slug", "9lives", "such as 'lives'"),
        ("project_slug", "../evil", "such as 'evil'"),
        ("project_slug", "a/b", "such as 'a-b'"),
        ("project_slug", "naïve", "lower-case letters and digits"),
        ("project_slug", "voice-app\n", "lower-case letters and digits"),
        ("project_slug", "x" * 300, "it has 300 characters, and at most 50 are possible"),
        ("project_slug", "class", "it is a word of the Python language"),
        ("project_slug", "async", "it is a word of the Python language"),
        ("project_slug", "json", "it is a module of Python's standard library"),
        ("project_slug", "app", "it is a package of every project"),
        ("project_slug", "tests", "it is a package of every project"),
        ("project_slug", "dev", "it is a package of every project"),
        ("project_slug", "fastapi", "it is the name of a package that the project needs"),
        ("project_slug", "retell-sdk", "it is the name of a package that the project needs"),
        ("project_slug", "starlette", "it is the name of a package that the project needs"),
        ("project_slug", "sqlalchemy", "it is the name of a package that the project needs"),
        ("project_slug", "greenlet", "it is the name of a package that the project needs"),
        ("project_slug", "con", "it is a device on Windows"),
        ("description", "", "it needs at least one letter or digit"),
        ("description", "x" * 201, "it has 201 characters, and at most 200 are possible"),
        ("description", "two\r\nlines", "one line of printable characters"),
        ("variant", "serverless", "choose one of: monolith"),
        ("variant", ["monolith"], "choose one of: monolith"),
    ],
)
def test_an_answer_that_cannot_be_baked_is_refused_by_name(answer: str, value: object, why: str):
    said = refusal(**{answer: value})
    assert said.startswith("1 answer cannot be used, so nothing was baked:\n")
    assert f"\n  {answer} " in said
    assert why in said
    assert len(said.splitlines()) == 2


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("project_name", "x"),
        ("project_name", "y" * 60),
        ("project_name", NASTY_NAME),
        ("project_name", "نرم\u200cافزار"),
        ("project_slug", "a"),
        ("project_slug", "x" * 50),
        ("project_slug", "a-1-b2"),
        ("project_slug", "match"),
        ("description", NASTY_DESCRIPTION),
        ("description", "z" * 200),
    ],
)
def test_an_answer_that_can_be_baked_is_not_refused(answer: str, value: object):
    assert refusal(**{answer: value}) == ""


def test_all_problems_are_reported_at_once():
    said = refusal(project_name="", project_slug="My App", description="a\nb", variant="x")
    assert said.startswith("4 answers cannot be used")
    assert [line.split()[0] for line in said.splitlines()[1:]] == list(GOOD)


def test_a_slug_that_is_no_folder_name_is_named_as_it_was_given():
    said = refusal(project_slug=REFUSED_SLUG, **{SLUG_AS_ANSWERED: "../../etc"})
    assert "project_slug '../../etc'" in said


def test_cookiecutter_json_and_the_engine_agree_on_the_refused_slug():
    questions = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
    assert f"project_slug='{REFUSED_SLUG}'" in questions[SLUG_AS_ANSWERED]


def test_every_direct_dependency_is_read_from_the_tree():
    files = [path.read_text(encoding="utf-8") for path in (ROOT / TREE).glob("*/pyproject.toml")]
    assert len(files) == len(VARIANTS)
    listed = [
        line
        for tables in map(tomllib.loads, files)
        for line in (
            *tables["project"]["dependencies"],
            *tables["dependency-groups"]["dev"],
            *tables["build-system"]["requires"],
        )
    ]
    assert dependencies(PYPROJECT) == {normal(re.split(r"[\[<>=~!]", line)[0]) for line in listed}


def test_no_package_of_a_projects_environment_can_give_a_project_its_name(installed: Path):
    lock = tomllib.loads((installed / "uv.lock").read_text(encoding="utf-8"))
    names = {normal(package["name"]) for package in lock["package"]} - {"voice-app"}
    assert {name for name in names if why_taken(name, PYPROJECT) is None} == set()


REFUSED_BY_COMMAND = [
    ("project_name", "two\nlines", "project_name 'two\\nlines'"),
    ("project_name", "   ", "project_name '   '"),
    ("project_name", "", "project_name ''"),
    ("project_name", "🎙️", "project_name '\\U0001f399\\ufe0f'"),
    ("project_name", "x" * 300, "project_name 'xxx"),
    ("project_name", "class", "project_slug 'class'"),
    ("project_name", "FastAPI", "project_slug 'fastapi'"),
    ("project_name", "{% raw %}{{ x }}{% endraw %}", "project_name '{{ x }}'"),
    ("project_name", "{{ 7 * 7 }}", "project_slug '49'"),
    ("project_slug", "../evil", "project_slug '../evil'"),
    ("project_slug", "a/b", "project_slug 'a/b'"),
    ("project_slug", "a/b/c/../d", "project_slug 'a/b/c/../d'"),
    ("project_slug", "OUTSIDE/evil", "project_slug '/"),
    ("project_slug", "~/evil", "project_slug '~/evil'"),
    ("project_slug", "", "project_slug ''"),
    ("project_slug", ".", "project_slug '.'"),
    ("project_slug", "..", "project_slug '..'"),
    ("project_slug", "-rf", "project_slug '-rf'"),
    ("project_slug", "My App", "project_slug 'My App'"),
    ("project_slug", "a\\b", "project_slug 'a\\\\b'"),
    ("project_slug", "näh", "project_slug 'n\\xe4h'"),
    ("project_slug", "x" * 300, "project_slug 'xxx"),
    ("project_slug", "starlette", "project_slug 'starlette'"),
    ("project_slug", "lambda", "project_slug 'lambda'"),
    ("description", "a\nb", "description 'a\\nb'"),
    ("description", "'''\"\"\"\\", "description"),
    ("description", "d" * 300, "description 'ddd"),
]


@pytest.mark.parametrize(("answer", "value", "named"), REFUSED_BY_COMMAND)
def test_the_command_refuses_by_name_and_leaves_nothing(
    answer: str, value: str, named: str, user: User, template: Path, tmp_path: Path
):
    outside = tmp_path / "outside"
    value = value.replace("OUTSIDE", str(outside))
    (user.out / "a").mkdir()
    (user.out / "a" / "mine.txt").write_text("mine")
    before = snapshot(tmp_path / "out")
    done = user.cookiecutter(template, "--no-input", f"{answer}={value}")
    assert done.returncode == 1
    assert "cannot be used, so nothing was baked:" in done.stderr
    assert named in done.stderr
    assert snapshot(tmp_path / "out") == before
    assert {path.name for path in tmp_path.iterdir()} == {"home", "out"}


@pytest.mark.parametrize("value", ["{{", "{% if %}", "{{ nothing.there }}"])
def test_a_broken_expression_never_gets_past_cookiecutter(value: str, user: User, template: Path):
    # Cookiecutter takes answers on the command line for template text and renders them itself.
    done = user.cookiecutter(template, "--no-input", f"project_name={value}")
    assert done.returncode == 1
    assert snapshot(user.out) == {}


def test_template_marks_from_a_replay_file_are_refused(user: User, template: Path, tmp_path: Path):
    replay = tmp_path / "replay.json"
    hostile = {
        **GOOD,
        "project_name": "{{ 7 * 7 }}",
        "description": "{% include '/etc/passwd' %} a",
    }
    replay.write_text(json.dumps({"cookiecutter": hostile}))
    done = user.cookiecutter(template, "--replay-file", replay)
    assert done.returncode == 1
    assert "project_name '{{ 7 * 7 }}'" in done.stderr
    assert 'description "{% include' in done.stderr
    assert snapshot(user.out) == {}


def test_an_unknown_variant_leaves_nothing(user: User, template: Path):
    done = user.cookiecutter(template, "--no-input", "variant=serverless")
    assert done.returncode == 1
    assert "serverless" in done.stderr
    assert snapshot(user.out) == {}


BAKED_BY_COMMAND = [
    {"project_name": NASTY_NAME, "project_slug": "nasty"},
    {"project_name": "Class Room"},
    {"project_name": "-leading dash"},
    {"project_name": "../evil"},
    {"project_name": "/absolute/path"},
    {"project_name": "a/b"},
    {"project_name": "x" * 50},
    {"project_name": "Ünïcödé 東京"},
    {"project_name": "[bold]Rich[/bold] $HOME `id` ; rm -rf *"},
    {"description": NASTY_DESCRIPTION},
    {"description": "'''\"\"\" a \\"},
    {"description": "d" * 200},
]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("answers", BAKED_BY_COMMAND, ids=lambda answers: next(iter(answers)))
def test_what_is_baked_has_the_exact_answers_and_nothing_else_differs(
    answers: dict[str, str],
    variant: str,
    user: User,
    template: Path,
    default_bakes: dict[str, Path],
):
    project = user.bake(template, **answers, variant=variant)
    ours, default = snapshot(project), snapshot(default_bakes[variant])
    assert set(ours) == set(default)
    assert {path for path in ours if ours[path] != default[path]} <= RENDERED
    metadata = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    recorded = record_of(project)["cookiecutter"]
    assert isinstance(recorded, dict)
    assert answers.items() <= recorded.items()
    assert metadata["name"] == recorded["project_slug"] == project.name
    assert metadata["description"] == recorded["description"]
    title = (project / "README.md").read_text(encoding="utf-8").splitlines()[0]
    assert title == f"# {recorded['project_name']}"
