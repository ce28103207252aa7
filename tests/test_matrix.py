"""The decision matrix is told once, in the manifests; question and READMEs repeat it exactly."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
from cookiecutter.generate import is_copy_only_path

from blueprint import RENDERED
from blueprint.bake.arrange import list_files
from blueprint.bake.layout import Layout
from blueprint.bake.manifest import Manifest, load
from blueprint.regenerate.files import above
from tests.baking import ROOT, TREE, VARIANTS, source

QUESTIONS = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
MANIFESTS = [load(str(ROOT), name) for name in QUESTIONS["variant"]]

# How the matrix spells the facts of the manifests.
FACTORS = {
    "Team Size": "team",
    "DAU": "daily_users",
    "Deployment Frequency": "releases",
    "Failure Isolation": "failure_isolation",
    "Operational Complexity": "complexity",
    "Time to Market": "time_to_market",
}
RENDERED_OF_EACH = ("README.md", "pyproject.toml")
READMES = [ROOT / "README.md", *(source(ROOT, "README.md", name) for name in VARIANTS)]


def label(manifest: Manifest) -> str:
    """Return how the question offers a variant."""
    fits = manifest.fits
    return (
        f"{manifest.title}: team of {fits['team']}, {fits['daily_users']} daily users, "
        f"{fits['releases'].lower()} releases, "
        f"failure isolation {fits['failure_isolation'].lower()}, "
        f"complexity {fits['complexity'].lower()}, "
        f"time to market {fits['time_to_market'].lower()}"
    )


def matrix(readme: str) -> dict[str, dict[str, str]]:
    """Return the first table of a README that compares the variants: title, factor, value."""
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in readme.splitlines()
        if line.startswith("|")
    ]
    start = next(number for number, row in enumerate(rows) if row[0] == "Factor")
    titles = rows[start][1:]
    found: dict[str, dict[str, str]] = {title.lower(): {} for title in titles}
    for row in rows[start + 2 :]:
        if row[0] not in FACTORS:
            break
        for title, value in zip(titles, row[1:], strict=True):
            found[title.lower()][row[0]] = value
    return found


def test_the_question_offers_exactly_the_variants_that_exist_the_simplest_first():
    assert sorted(QUESTIONS["variant"]) == VARIANTS
    assert QUESTIONS["variant"][0] == "monolith"
    labels = QUESTIONS["__prompts__"]["variant"]
    assert set(labels) - {"__prompt__"} == set(VARIANTS)


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda manifest: manifest.name)
def test_the_questions_labels_say_what_the_manifests_say(manifest: Manifest):
    assert QUESTIONS["__prompts__"]["variant"][manifest.name] == label(manifest)


@pytest.mark.parametrize("readme", READMES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_readmes_matrix_says_what_the_manifests_say(readme: Path):
    told = matrix(readme.read_text(encoding="utf-8"))
    for manifest in MANIFESTS:
        assert told[manifest.title.lower()] == {
            factor: manifest.fits[fact] for factor, fact in FACTORS.items()
        }


def variants_of_dev_fit() -> list[dict[str, str]]:
    """Return what ``dev/fit.py`` says of the variants; it cannot be imported without the app."""
    text = source(ROOT, "dev/fit.py").read_text(encoding="utf-8")
    (listed,) = (
        statement.value
        for statement in ast.parse(text).body
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "VARIANTS"
    )
    assert isinstance(listed, ast.Tuple)
    return [
        {fact.arg or "": ast.literal_eval(fact.value) for fact in call.keywords}
        for call in listed.elts
        if isinstance(call, ast.Call)
    ]


def test_dev_fit_judges_by_what_the_manifests_say_of_every_variant():
    assert variants_of_dev_fit() == [
        {
            "name": manifest.name,
            "title": manifest.title,
            "team": manifest.fits["team"],
            "daily_users": manifest.fits["daily_users"],
        }
        for manifest in MANIFESTS
    ]


def test_every_question_has_a_readable_label_and_the_variant_comes_last():
    asked = [key for key in QUESTIONS if not key.startswith("_")]
    assert asked == ["project_name", "project_slug", "description", "variant"]
    assert list(QUESTIONS["__prompts__"]) == asked


def pattern_matches(path: str) -> bool:
    """Tell whether cookiecutter would copy `path` without rendering it."""
    return is_copied(f"{RENDERED}/{path}")


def is_copied(path: str) -> bool:
    """Tell whether cookiecutter copies a file or folder of a project as it is."""
    context = {"cookiecutter": QUESTIONS}
    return any(is_copy_only_path(one, context) for one in (*above(path), path))


def test_only_files_that_need_the_name_are_rendered():
    tree = list_files(str(ROOT / TREE))
    rendered = {path for path in tree if not pattern_matches(path)}
    own = {source(ROOT, home, name) for name in VARIANTS for home in RENDERED_OF_EACH}
    assert {ROOT / TREE / path for path in rendered} == {ROOT / TREE / "README.md", *own}
    for path in rendered:
        assert "{{ cookiecutter." in (ROOT / TREE / path).read_text(encoding="utf-8"), path


def test_a_folder_that_is_copied_whole_is_in_the_folder_that_is_rendered_to():
    # Cookiecutter removes a matching folder before it copies: there, nobody has files.
    homes = {home for name in VARIANTS for home in homes_of(name)}
    folders = {RENDERED, ".git", *(folder for home in homes for folder in above(home))}
    assert {path for path in folders if is_copied(path)} == set()


def test_no_name_in_the_tree_needs_rendering():
    assert [path for path in list_files(str(ROOT / TREE)) if re.search(r"[{}]", path)] == []


def test_no_file_of_the_tree_is_executable():
    # A zip archive loses the permission on its way through cookiecutter, so bakes would differ.
    modes = {
        path: (ROOT / TREE / path).stat().st_mode & 0o111 for path in list_files(str(ROOT / TREE))
    }
    assert {path for path, mode in modes.items() if mode} == set()


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda manifest: manifest.name)
def test_every_variant_has_a_readme_of_its_own(manifest: Manifest):
    assert source(ROOT, "README.md", manifest.name).parent.name == manifest.layers[-1].name


def homes_of(variant: str) -> list[str]:
    """Return the path of every file in a project of a variant."""
    return list(Layout(load(str(ROOT), variant)).plan(list_files(str(ROOT / TREE))).values())
