"""The engine's rooms: which may import which, and how long their files and functions may be."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.baking import ROOT

ENGINE = ROOT / "hooks" / "blueprint"
MODULES = sorted(ENGINE.rglob("*.py"))

# What each room may import of the others. Everybody may import what is in no room.
ROOMS = {
    "": set[str](),
    "rename": set[str](),
    "merge": set[str](),
    "bake": {"rename"},
    "regenerate": {"bake", "merge", "rename"},
}
# The hooks find out whether they bake or regenerate. Only then they import what that needs.
HOOKS = {"bake/pre_hook.py", "bake/post_hook.py"}

# Slow to import, and every bake would pay for it, twice.
SLOW = {"dataclasses", "pathlib", "typing", "yaml"}
LONGEST_FILE = 450
LONGEST_FUNCTION = 60


def name_of(path: Path) -> str:
    """Return a module's path in the engine."""
    return path.relative_to(ENGINE).as_posix()


def room_of(name: str) -> str:
    """Return the room of a module's path in the engine; empty for what is in none."""
    return name.partition("/")[0] if "/" in name else ""


def imported(tree: ast.AST) -> Iterator[tuple[ast.stmt, str]]:
    """Yield each import statement of a module that runs, and the dotted names that it may mean."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node, f"{node.module}.{alias.name}") for alias in node.names)
        else:
            yield from imported(node)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_arrows_between_the_rooms_go_one_way(path: Path):
    name = name_of(path)
    room = room_of(name)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for statement, module in imported(tree):
        parts = module.split(".")
        if parts[0] != "blueprint" or parts[1] not in ROOMS or parts[1] == room:
            continue
        lazily = name in HOOKS and statement not in tree.body
        assert parts[1] in ROOMS[room] or lazily, (
            f"{name}:{statement.lineno} imports {module}, and {room or 'what is in no room'} knows "
            f"nothing of {parts[1]}: pass it in from a room above both, or put what both need "
            "where both may import it"
        )


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nothing_imports_the_hooks(path: Path):
    for statement, module in imported(ast.parse(path.read_text(encoding="utf-8"))):
        assert not module.startswith(("blueprint.bake.pre_hook", "blueprint.bake.post_hook")), (
            f"{name_of(path)}:{statement.lineno}: only the entry files in hooks/ import a hook"
        )


@pytest.mark.parametrize("name", ["bake/pre_hook", "bake/post_hook"])
def test_a_plain_bake_imports_nothing_that_is_slow_or_that_only_regenerating_needs(name: str):
    waiting, seen, outside = [f"{name}.py"], set[str](), set[str]()
    while waiting:
        module = waiting.pop()
        seen.add(module)
        tree = ast.parse((ENGINE / module).read_text(encoding="utf-8"))
        at_once = [pair for pair in imported(tree) if pair[0] in tree.body]
        for _, dotted in at_once:
            path = dotted.removeprefix("blueprint.").replace(".", "/")
            found = [one for one in (f"{path}.py", f"{path.rpartition('/')[0]}.py")
                     if (ENGINE / one).is_file()]  # fmt: skip
            waiting += [one for one in found[:1] if one not in seen]
            outside |= set() if found else {dotted.partition(".")[0]}
    assert outside & SLOW == set(), "import it where it is needed"
    assert {room_of(module) for module in seen} <= {"", "bake", "rename"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_files_and_functions_are_short(path: Path):
    source = path.read_text(encoding="utf-8")
    lines = source.count("\n")
    assert lines <= LONGEST_FILE, f"{lines} lines: a file that long wants to be two"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= LONGEST_FUNCTION, f"{node.name} has {length} lines: split it"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_docstrings_open_with_a_verb_or_a_noun(path: Path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = (ast.get_docstring(node) or "").split(maxsplit=1)[:1]
            assert first not in (["What"], ["Whether"], ["How"], ["Who"], ["Tell"]), (
                f"{name_of(path)}: {first[0]}... opens a docstring; begin with Return, or the thing"
            )
