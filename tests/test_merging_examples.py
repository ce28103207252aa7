"""The worked examples in the docstrings of the merge room are true."""

from __future__ import annotations

import stat
from importlib import import_module

import pytest

from blueprint.merge import requirement
from blueprint.merge.by_kind import merge_by_kind
from blueprint.merge.entries import CannotMergeError
from blueprint.merge.files import File
from blueprint.merge.lines import Labels, merge_lines
from blueprint.merge.project import Merger

LABELS = Labels("monolith", "yours (monolith)", "service-layer")
MARGIN = 4


def rows(module: str) -> list[list[str]]:
    """Return the cells of the example in a module's docstring."""
    lines = iter((import_module(f"blueprint.merge.{module}").__doc__ or "").split("\n"))
    heading = next(line for line in lines if line.count("|") == 3)
    assert [cell.strip() for cell in heading.split("|")] == ["base", "ours", "theirs", "result"]
    next(lines)
    found: list[list[str]] = []
    for line in lines:
        if not line:
            break
        first, *others = line.split("|", maxsplit=3)
        found.append([first[MARGIN:].rstrip(), *(cell[1:].rstrip() for cell in others)])
    assert found
    return found


def columns(module: str) -> list[str]:
    """Return the four texts of an example whose columns are files."""
    return [
        "".join(f"{cell}\n" for cell in column if cell)
        for column in zip(*rows(module), strict=True)
    ]


@pytest.mark.parametrize(
    ("module", "path"),
    [("entries", ".env.example"), ("env_example", ".env.example"), ("toml", "pyproject.toml")],
)
def test_the_example_of_a_file_is_true(module: str, path: str):
    base, ours, theirs, result = columns(module)
    assert merge_by_kind(path, base, ours, theirs) == result


def test_the_example_of_an_array_is_true():
    texts = (f"[project]\ndependencies = {array}" for array in columns("toml_arrays"))
    base, ours, theirs, result = texts
    assert merge_by_kind("pyproject.toml", base, ours, theirs) == result


def test_the_example_of_lines_is_true():
    base, ours, theirs, result = columns("lines")
    assert merge_lines(base, ours, theirs, LABELS) == (result, False)


@pytest.mark.parametrize(("base", "ours", "theirs", "result"), rows("requirement"))
def test_the_examples_of_requirements_are_true(base: str, ours: str, theirs: str, result: str):
    if result != "refused":
        assert requirement.merge(base, ours, theirs) == result
        return
    with pytest.raises(CannotMergeError):
        requirement.merge(base, ours, theirs)


def file_of(cell: str) -> dict[str, File]:
    """Return a file of the example: its permissions and its text, with visible line ends."""
    mode, text = cell.split(" ")
    content = text.replace(r"\r", "\r").replace(r"\n", "\n").encode()
    return {"a": (stat.S_IFREG | int(mode, 8), content)}


@pytest.mark.parametrize(("base", "ours", "theirs", "result"), rows("files"))
def test_the_examples_of_modes_and_line_ends_are_true(
    base: str, ours: str, theirs: str, result: str
):
    merger = Merger(LABELS, lambda _: False)
    merged = merger.merge(file_of(base), file_of(ours), file_of(theirs))
    assert merged.files == file_of(result)


LINES = [f"{number}" for number in range(10)]


def project_of(cell: str) -> dict[str, File]:
    """Return the project of a cell such as ``a: mine, old``: a file with some lines."""
    if not cell:
        return {}
    path, _, words = cell.partition(": ")
    text = [line for word in words.split(", ") for line in (LINES if word == "old" else [word])]
    return {path: (stat.S_IFREG | 0o644, "".join(f"{line}\n" for line in text).encode())}


NOTED = {
    "a conflict is noted": "conflicts",
    "that is noted": "merged",
    "what was left out is noted": "left_out",
    "what was kept is noted": "kept",
}


@pytest.mark.parametrize(("base", "ours", "theirs", "result"), rows("project"))
def test_the_examples_of_a_project_are_true(base: str, ours: str, theirs: str, result: str):
    merged = Merger(LABELS, lambda _: False).merge(*map(project_of, (base, ours, theirs)))
    expected, _, said = result.partition("; ")[0].partition(", and ")
    noted = {name for name in NOTED.values() if getattr(merged, name)}
    assert noted == {NOTED[said]} if said else True
    if "<<<" in expected:
        assert merged.conflicts
        (text,) = (file[1].decode() for file in merged.files.values())
        assert "mine\n" in text
        assert "new\n" in text
    else:
        assert merged.files == project_of("" if expected.startswith("no ") else expected)
