"""Merging by what a file means: both sides' work is in the result, or there is no result."""

# ruff: noqa: E501 - a table reads best with one case a line

from __future__ import annotations

import random
import sys
import tomllib
from typing import TYPE_CHECKING

import pytest

from blueprint.merge import env_example, requirement
from blueprint.merge.by_kind import merge_by_kind
from blueprint.merge.entries import CannotMergeError, split_lines
from tests.baking import ROOT, source

if TYPE_CHECKING:
    from collections.abc import Callable

# Files that the monolith and the service layer have at one path, each its own. The text between
# Jinja's braces is as good as any.
SOURCES = ("pyproject.toml", ".env.example")
UP_AND_DOWN = [(home, up) for home in SOURCES for up in (True, False)]


def versions(home: str, *, up: bool = True) -> tuple[str, str]:
    """Return a file of the template in the old and in the new variant."""
    old, new = (
        source(ROOT, home, variant).read_text(encoding="utf-8")
        for variant in ("monolith", "service-layer")
    )
    return (old, new) if up else (new, old)


def merged(path: str, base: str, ours: str, theirs: str) -> str:
    """Return a merge that there is."""
    result = merge_by_kind(path, base, ours, theirs)
    assert result is not None
    return result


def toml(base: str, ours: str, theirs: str) -> str | None:
    """Return the merge of a pyproject.toml."""
    return merge_by_kind("pyproject.toml", base, ours, theirs)


def dependencies(*lines: str) -> str:
    """Return a pyproject.toml with these lines between the brackets of its dependencies."""
    return "".join(f"{line}\n" for line in ("[project]", "dependencies = [", *lines, "]"))


# --- A realistic owner ---------------------------------------------------------------------------


def put(text: str, *edits: tuple[str, str]) -> str:
    """Return `text` with replacements of which each happens exactly once."""
    for old, new in edits:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


OWNERS: dict[str, Callable[[str], str]] = {
    "pyproject.toml": lambda text: (
        put(
            text,
            ('version = "0.1.0"', 'version = "0.2.0"'),
            ('    "structlog', '    "stripe>=12,<13",\n    "structlog'),
            ('"dev", "tests"]', '"dev", "tests", "scripts"]'),
            ('"TRY301"]\n', '"TRY301"]\n"scripts/**" = ["T20"]\n'),
        )
        + '\n# Ours.\n[tool.mytool]\nlevel = "high"  # so far\n'
    ),
    ".env.example": lambda text: (
        put(
            text,
            ("# RATE_LIMIT=60/minute", "RATE_LIMIT=90/minute"),
            ("# --- The process", "# What only we know.\nOUR_SECRET=\n\n# --- The process"),
        )
        + "\n# --- Payments ---\n\n# The key from Stripe's dashboard.\nSTRIPE_KEY=\n"
    ),
}


@pytest.mark.parametrize("home", SOURCES)
def test_what_an_owner_added_goes_up_and_comes_back_down(home: str):
    monolith, service_layer = versions(home)
    ours = OWNERS[home](monolith)
    bigger = merged(home, monolith, ours, service_layer)
    assert bigger not in (ours, service_layer)
    assert merged(home, service_layer, bigger, monolith) == ours


# --- Owners who type anywhere --------------------------------------------------------------------


def typed_in(home: str, text: str, chance: random.Random) -> tuple[str, list[str]]:
    """Return a file with pieces of the owner's put in at random, and the lines of the pieces."""
    lines = text.split("\n")
    own: list[str] = []
    for number in range(chance.randint(1, 6)):
        place, piece = chance.choice(PIECES[home])(lines, f"own{number}", chance)
        lines[place:place] = piece
        own += [line for line in piece if line]
    return "\n".join(lines), own


def line_with(lines: list[str], start: str, chance: random.Random) -> int:
    """Return the place of some line that begins with `start`."""
    return chance.choice([place for place, line in enumerate(lines) if line.startswith(start)])


PIECES: dict[str, list[Callable[[list[str], str, random.Random], tuple[int, list[str]]]]] = {
    "pyproject.toml": [
        lambda lines, word, _: (lines.index("dependencies = [") + 1, [f'    "{word}>=1",  # ours']),
        lambda lines, word, _: (lines.index("dev = [") + 1, [f"    # {word}", f'    "{word}>=1",']),
        lambda lines, word, chance: (line_with(lines, "[", chance), [f"[tool.{word}]", ""]),
        lambda lines, word, chance: (line_with(lines, "[", chance), [f"# {word}"]),
        lambda lines, word, chance: (line_with(lines, "[tool", chance) + 1, [f"{word} = 1"]),
    ],
    ".env.example": [
        lambda lines, word, chance: (line_with(lines, "", chance), [f"{word.upper()}=1"]),
        lambda lines, word, chance: (line_with(lines, "", chance), ["", f"# {word.upper()}=", ""]),
        lambda lines, word, chance: (line_with(lines, "", chance), [f"# {word}"]),
    ],
}


@pytest.mark.parametrize(("home", "up"), UP_AND_DOWN)
def test_what_is_put_in_anywhere_is_kept_and_so_is_all_of_the_templates(home: str, up: bool):
    base, theirs = versions(home, up=up)
    for seed in range(60):
        ours, own = typed_in(home, base, random.Random(seed))  # noqa: S311 - the same every time
        result = merged(home, base, ours, theirs).split("\n")
        assert [line for line in own if line not in result] == [], seed
        assert [line for line in theirs.split("\n") if line not in result] == [], seed


@pytest.mark.parametrize(("home", "up"), UP_AND_DOWN)
def test_whatever_an_owner_does_no_line_of_theirs_is_lost(home: str, up: bool):
    base, theirs = versions(home, up=up)
    results = 0
    for seed in range(60):
        chance = random.Random(seed)  # noqa: S311 - the same every time
        lines = typed_in(home, base, chance)[0].split("\n")
        del lines[(place := line_with(lines, "", chance)) : place + 3]
        lines[line_with(lines, "", chance)] = f"# rewritten {seed}"
        lines.insert(0, lines.pop(line_with(lines, "", chance)))
        result = merge_by_kind(home, base, "\n".join(lines), theirs)
        if result is not None:
            results += 1
            added = {line.strip() for line in lines} - {line.strip() for line in base.split("\n")}
            assert added <= {line.strip() for line in result.split("\n")}, seed
            assert home != "pyproject.toml" or tomllib.loads(result)
    assert results


# --- What is merged, and what is not -------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["src/app/main.py", "compose.yaml", ".env", "env.example", "x.toml", "README.md", ".gitignore"],
)
def test_other_files_are_left_to_a_merge_by_lines(path: str):
    assert merge_by_kind(path, "a\n", "a\nb\n", "c\na\n") is None


@pytest.mark.parametrize(
    "path",
    ["other-services/a/pyproject.toml", "deploy/.env.example", ".env.production.example"],
)
def test_files_are_known_by_name_in_any_folder(path: str):
    assert merge_by_kind(path, "a=1\n", "a=1\nb=1\n", "c=1\na=1\n") == "c=1\na=1\nb=1\n"


@pytest.mark.parametrize("home", ["pyproject.toml", ".env.example"])
def test_a_file_that_a_side_emptied_is_in_doubt(home: str):
    assert merge_by_kind(home, "# a\n", "", "# b\n") is None
    assert merge_by_kind(home, "# a\n", "# b\n", "\n") is None


def test_a_merge_that_loses_a_line_of_the_owners_is_none(monkeypatch: pytest.MonkeyPatch):
    def take_theirs(_base: str, _ours: str, theirs: str, *_: object) -> str:
        return theirs

    monkeypatch.setattr(env_example, "merge_files", take_theirs)
    assert merge_by_kind(".env.example", "A=1\n", "A=1\nMINE=1\n", "A=2\n") is None


def test_the_empty_lines_at_the_end_are_those_of_the_side_that_changed_them():
    assert merged(".env.example", "A=1", "A=1\nB=2", "C=3\nA=1\n") == "C=3\nA=1\nB=2\n"
    assert merged(".env.example", "A=1\n", "A=1\nB=2", "C=3\nA=1\n") == "C=3\nA=1\nB=2"


# --- pyproject.toml ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "expected"),
    [
        ("a>=1,<2", "a>=1.5,<2", "a>=1.4,<3", "a>=1.5,<2"),
        ("a>=1,<2", "a>=1.9,<2", "a>=1.10,<2", "a>=1.10,<2"),
        ("a>=1,<2", "a>=1.0b2", "a>=1.0rc1", "a>=1.0rc1"),
        ("a>=1,<2", "a>=2rc1", "a>=2.0", "a>=2.0"),
        ("a>=1,<2", "a>=2.post1", "a>=2.0", "a>=2.post1"),
        ("a>=1,<2", "a>=2.dev3", "a>=2a1", "a>=2a1"),
        ("a>=1,<2", "a", "a>=1.1,<2", "a>=1.1,<2"),
        ("a>=1,<2", "a[x]>=1,<2", "a>=1.1,<2", "a[x]>=1.1,<2"),
        ("a[z]>=1", "a[x,z]>=1", "a[y]>=2", "a[x,y]>=2"),
        ("a>=1", "a~=1.4", "A>=1.3", "A~=1.4"),
        (
            "a>=1; os_name=='nt'",
            "a>=3; os_name=='nt'",
            "a>=2; os_name=='nt'",
            "a>=3; os_name=='nt'",
        ),
        ("", "a>=3", "a>=2", "a>=3"),
        ("a>=1", "a==1.2", "a>=1.1", None),
        ("a>=1", "a>=1.2,!=1.3", "a>=1.1", None),
        ("a>=1,<2", "a>=1.1,<2", "a>=1.1,<3", None),
        ("a>=1", "a @ https://example.com/a.whl", "a>=2", None),
        ("a>=1", "a>=1!2", "a>=2", None),
    ],
)
def test_of_two_changed_requirements_the_higher_lower_bound_wins(
    base: str, ours: str, theirs: str, expected: str | None
):
    if expected is not None:
        assert requirement.merge(base, ours, theirs) == expected
        return
    with pytest.raises(CannotMergeError):
        requirement.merge(base, ours, theirs)


def test_packages_are_known_by_their_normal_name():
    base = dependencies('    "My_Pkg>=1",')
    ours = dependencies('    "my-pkg>=1",', '    "new>=1",')
    theirs = dependencies('    "My_Pkg>=2",', '    "other>=1",')
    expected = dependencies('    "My_Pkg>=2",', '    "other>=1",', '    "new>=1",')
    assert toml(base, ours, theirs) == expected


def test_an_owners_packages_stay_below_the_one_that_they_were_put_below():
    base = dependencies('    "b>=1",', '    "m>=1",')
    ours = dependencies(
        '    "b>=1",', '    "m>=1",', '    "a>=1",  # first', '    # why\n    "c>=1",'
    )
    theirs = dependencies('    "b>=1",', '    "d>=1",', '    "m>=1",')
    ours_sorted = dependencies(
        '    "a>=1",  # first', '    "b>=1",', '    # why\n    "c>=1",', '    "m>=1",'
    )
    assert toml(base, ours_sorted, theirs) == dependencies(
        '    "a>=1",  # first',
        '    "b>=1",',
        '    # why\n    "c>=1",',
        '    "d>=1",',
        '    "m>=1",',
    )
    assert toml(base, ours, theirs) == dependencies(
        '    "b>=1",',
        '    "d>=1",',
        '    "m>=1",',
        '    "a>=1",  # first',
        '    # why\n    "c>=1",',
    )


def test_a_removal_by_either_side_holds():
    base = dependencies('    "a>=1",', '    "b>=1",', '    "c>=1",')
    ours = dependencies('    "a>=1",', '    "c>=1",')
    theirs = dependencies('    "b>=1",', '    "c>=1",', '    "d>=1",')
    assert toml(base, ours, theirs) == dependencies('    "c>=1",', '    "d>=1",')


def test_what_the_owner_changed_stays_when_the_template_drops_it():
    base = dependencies('    "a>=1",', '    "b>=1",')
    ours = dependencies('    "a>=1.5",', '    "b>=1",')
    theirs = dependencies('    "b>=1",', '    "c>=1",')
    assert toml(base, ours, theirs) == dependencies('    "a>=1.5",', '    "b>=1",', '    "c>=1",')


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "expected"),
    [
        ('["a", "b"]', '["a", "b", "mine"]', '["a", "new"]', '["a", "new", "mine"]'),
        ('["a"]', '["a", "mine"]', '[\n  "a",\n  "new",\n]', '[\n  "a",\n  "new",\n  "mine",\n]'),
        (
            '["a"]',
            '[\n"a",\n# why\n"b",\n]',
            '["a","c"]',
            '[\n    "a",\n    "c",\n    # why\n    "b",\n]',
        ),
        ('["a"]', '[\n  "a", # x\n]', '["a", "c"]', '[\n  "a", # x\n  "c",\n]'),
        ('["a"]', '["a", {b = "]"}]', '["a", "c"]', '["a", "c", {b = "]"}]'),
        ("[]", '["a"]', '["b"]', '["b", "a"]'),
        ('["a"]', "[]", '["a", "b"]', '["b"]'),
        ('["a"]', '[\n  "a"\n  , "d" # x\n]', '["a", "c"]', '[\n  "a",\n  "c",\n  "d", # x\n]'),
        ("1", "2", "2", "2"),
        ("1", "2", "3", None),
        ('"a"', "'a'", '"b"', '"b"'),
        ('"a"', '"b"', "'a'", '"b"'),
        ('"a"', '["a"]', '"b"', None),
        ('["a"]', '["a", """x\ny"""]', '["b"]', None),
        ("1 # one", "2 # one", "1 # eins", "2 # eins"),
        ('"""\n[x]\n# a\n"""', '"""\n[x]\n# b\n"""', '"""\n[x]\n# a\n"""', '"""\n[x]\n# b\n"""'),
    ],
)
def test_values_are_merged_by_their_meaning(
    base: str, ours: str, theirs: str, expected: str | None
):
    # The other key keeps whole files from being equal.
    before, own, new = (f"[tool.x]\nkey = {value}\n" for value in (base, ours, theirs))
    result = toml(before + "n = 1\n", own + "n = 1\nmine = 1\n", new + "n = 2\n")
    assert result == (expected and f"[tool.x]\nkey = {expected}\nn = 2\nmine = 1\n")


def test_groups_that_include_others_are_kept():
    base = '[dependency-groups]\ndev = [\n    "a>=1",\n]\n'
    ours = '[dependency-groups]\ndev = [\n    {include-group = "lint"},\n    "a>=1",\n]\nlint = ["z"]\n'
    theirs = '[dependency-groups]\ndev = [\n    "a>=1",\n    "b>=1",\n]\n'
    assert toml(base, ours, theirs) == (
        "[dependency-groups]\n"
        'dev = [\n    {include-group = "lint"},\n    "a>=1",\n    "b>=1",\n]\n'
        'lint = ["z"]\n'
    )


def test_tables_of_both_sides_are_kept_with_their_comments():
    base = "top = 1\n\n[a]\nx = 1\n"
    ours = "# Ours.\n\ntop = 1\n\n[a]\nx = 1\n\n# Why b.\n[b]\ny = 1\n\n# The end.\n"
    theirs = "top = 2\n\n[new]\n\n[a]\n# One.\nx = 1\n"
    assert toml(base, ours, theirs) == (
        "# Ours.\n\ntop = 2\n\n[new]\n\n[a]\n# One.\nx = 1\n\n# Why b.\n[b]\ny = 1\n\n# The end.\n"
    )


def test_lists_of_tables_are_told_by_their_first_line():
    base = '[[index]]\nname = "a"\nurl = "1"\n'
    ours = base + '\n[[index]]\nname = "mine"\nurl = "2"\n'
    theirs = '[[index]]\nname = "new"\nurl = "3"\n\n' + base.replace("1", "4")
    assert toml(base, ours, theirs) == theirs + '\n[[index]]\nname = "mine"\nurl = "2"\n'


def test_tables_inside_lists_of_tables_are_in_doubt():
    base = "[[a]]\nx = 1\n[a.b]\ny = 1\n"
    assert toml(base, base + "[c]\n", "[d]\n" + base) is None


def test_a_table_that_the_owner_removed_stays_away():
    base = "[a]\nx = 1\n\n[b]\ny = 1\n"
    assert toml(base, "[b]\ny = 1\n", "[a]\nx = 2\n\n[b]\ny = 2\n") == "[b]\ny = 2\n"


@pytest.mark.parametrize("broken", range(3))
def test_a_file_that_does_not_parse_is_not_merged(broken: int):
    texts = ["a = 1\n", "a = 1\nb = 1\n", "a = 2\n"]
    texts[broken] += "c = = 1\n"
    assert toml(*texts) is None


def test_a_key_that_both_sides_write_in_two_ways_is_not_written_twice():
    assert toml("[a]\n", "[a]\nb.c = 1\n", "[a]\n[a.b]\nc = 2\n") is None


def test_without_a_parser_nothing_is_merged(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "tomllib", None)
    assert toml("a = 1\n", "a = 1\nb = 1\n", "a = 2\n") is None


# --- .env.example --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "expected"),
    [
        # An addition follows the neighbour above it, or the nearest that is left.
        ("A=1\nB=2\n", "A=1\nX=1\nB=2\n", "B=2\nA=1\n", "B=2\nA=1\nX=1\n"),
        ("A=1\nB=2\nC=3\n", "A=1\nB=2\nX=1\nC=3\n", "A=1\nN=1\nC=3\n", "A=1\nX=1\nN=1\nC=3\n"),
        ("A=1\n", "A=1\n\n# Mine.\nX=1\n", "A=1\nN=1\n", "A=1\nN=1\n\n# Mine.\nX=1\n"),
        ("A=1\n", "X=1\nA=1\n", "A=1\nN=1\n", "X=1\nA=1\nN=1\n"),
        # A setting that is commented out is still the setting.
        ("# A=1\n", "A=5\n", "# Says more.\n# A=1\n", "# Says more.\nA=5\n"),
        ("# One.\nA=1\n", "# One.\nA=5\n", "# Two.\nA=1\n", "# Two.\nA=5\n"),
        ("# A.\nexport A=1\n", "# A.\nexport A=2\n", "# B.\nexport A=1\n", "# B.\nexport A=2\n"),
        # The owner's order holds if the template keeps its own.
        ("A=1\nB=2\n", "B=2\nA=1\n", "A=1\nB=2\nN=1\n", "B=2\nA=1\nN=1\n"),
        # Removed by the owner; removed by the template; changed by the owner and removed.
        ("A=1\nB=1\n", "B=1\n", "A=2\nB=2\n", "B=2\n"),
        ("A=1\nB=1\n", "A=1\nB=1\nX=1\n", "B=1\n", "B=1\nX=1\n"),
        ("A=1\nB=1\n", "A=7\nB=1\n", "B=1\nN=1\n", "A=7\nB=1\nN=1\n"),
        ("", "A=1\nX=1\n", "A=1\nN=1\n", "A=1\nN=1\nX=1\n"),
        ("A=1\n", "A=2\n", "A=3\n", None),
        ("", "A=2\n", "A=3\n", None),
        ("Z=1\n", "Z=1\nA=2\n", "Z=1\nA=3\n", None),
    ],
)
def test_settings_are_merged_by_name(base: str, ours: str, theirs: str, expected: str | None):
    assert merge_by_kind(".env.example", base, ours, theirs) == expected


def test_lines_end_with_line_feeds_and_nothing_else():
    assert split_lines("a\x0cb\u2028c\nd") == ["a\x0cb\u2028c\n", "d"]
