"""Fuzz regenerating: ``uv run python benchmarks/fuzz_regenerating.py [runs] [--seed N]``.

Each run bakes a variant, lets a random owner work on it, regenerates it as another variant by the
real command, and holds the outcome against what the owner had and what both variants hold when
nobody touched them. The owner inserts, deletes and rewrites lines, rewrites whole files, renames,
moves and deletes them, adds files to the template's folders and at paths that another variant uses,
changes modes and line ends, and adds binary files and symlinks. Every line and every name that
the owner adds holds a token of its own, so that nothing can be lost or doubled unseen.

Every ordered pair of variants gets its turn, also from a variant to itself. Printed: what was done
and what was found; each problem with the command that shows it again.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import re
import shutil
import stat
import sys
import tempfile
import tomllib
from collections import Counter
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "hooks")]

from blueprint import TREE  # noqa: E402
from blueprint.bake import manifest  # noqa: E402
from blueprint.bake.arrange import LEFTOVERS, list_files  # noqa: E402
from blueprint.bake.layout import Layout  # noqa: E402
from blueprint.rename.step import covers  # noqa: E402
from tests.baking import User, commit_all, git, record_of, three_variants  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

TOKEN = re.compile(r"tok\d+n\d+")
# A line that may name a module or a file that moves; merging may spell it anew.
NAMES_CODE = re.compile(r"\bapp\b|\bimport\b|^\s*\)|^\s+\w+,?(?:\s*#.*)?$")
MARKER = re.compile(rb"^(?:<{7} |\|{7} |>{7} )", re.MULTILINE)

# The template's own, or made by it: nobody edits these by hand.
GENERATED = {".blueprint.json", "MIGRATION.md"}
NO_COMMENTS = (".json", ".lock", ".typed", ".bin", ".svg")
IGNORED = {
    ".venv/lib/thing.py": b"X = 1\n",
    "data.db": b"\x00\x01calls\xff",
    "src/app/__pycache__/main.pyc": b"\x80compiled",
}


class File(NamedTuple):
    """One file on disk. A symlink's content is where it leads."""

    mode: int
    content: bytes
    is_link: bool = False


Tree = dict[str, File]


def tree_of(folder: Path) -> Tree:
    """Return every file and symlink below `folder` but git's own."""
    found: Tree = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name == ".git" or name.startswith(".git/"):
            continue
        if path.is_symlink():
            found[name] = File(0, os.fsencode(path.readlink()), is_link=True)
        elif path.is_file():
            found[name] = File(stat.S_IMODE(path.stat().st_mode), path.read_bytes())
    return found


def empty_folders(folder: Path) -> set[str]:
    """Return the folders below `folder` that hold nothing."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_dir() and not path.is_symlink() and not any(path.iterdir())
        if ".git" not in path.parts
    }


def text_of(file: File) -> str | None:
    """Return a file's text; None for what is no text."""
    if file.is_link or b"\0" in file.content:
        return None
    try:
        return file.content.decode()
    except UnicodeDecodeError:
        return None


class Moves:
    """Where the files of one variant are in another, as the manifests tell."""

    def __init__(self, template: Path, old: str, new: str) -> None:
        paths = list_files(str(template / TREE))
        self._old, self._new = manifest.load(str(template), old), manifest.load(str(template), new)
        homes = Layout(self._new).plan(paths)
        self._template = {
            home: homes.get(source, home) for source, home in Layout(self._old).plan(paths).items()
        }

    def home(self, path: str) -> str:
        """Return where a file of the old variant, the template's or the owner's, is in the new."""
        if path in self._template:
            return self._template[path]
        source = path
        by_home = sorted(self._old.place, key=lambda row: len(row.destination), reverse=True)
        for row in by_home:
            if row.destination.endswith("/") and covers(row.destination, path):
                source = row.source + path[len(row.destination) :]
                break
        by_source = sorted(self._new.place, key=lambda row: len(row.source), reverse=True)
        for row in by_source:
            if row.source.endswith("/") and covers(row.source, source):
                return row.destination + source[len(row.source) :]
        return source


class PristineProjects:
    """A template, and one untouched project of each of its variants."""

    def __init__(self, template: Path, folder: Path) -> None:
        self.template = template
        self.folder = folder
        self.variants = sorted(path.stem for path in (template / "variants").glob("*.yaml"))
        self.projects: dict[str, Path] = {}
        for variant in self.variants:
            self.projects[variant] = self.user(f"pristine-{variant}").bake(
                template, variant=variant
            )
        self.trees = {variant: tree_of(path) for variant, path in self.projects.items()}
        self.slug = self.projects[self.variants[0]].name

    def user(self, name: str) -> User:
        """Return somebody with a new home and a new folder to bake into."""
        for part in ("home", "out"):
            (self.folder / name / part).mkdir(parents=True)
        return User(self.folder / name / "home", self.folder / name / "out")


class Owner:
    """Somebody who edits a project at random."""

    def __init__(self, seed: int, project: Path, foreign: Iterable[str]) -> None:
        self.seed = seed
        self.random = random.Random(seed)  # noqa: S311 - the same edits for the same seed
        self.project = project
        # Paths that other variants use and this one does not.
        self.foreign = sorted(foreign)
        self.count = 0
        self.done: Counter[str] = Counter()
        self.clashed = False

    def work(self, edits: int) -> None:
        """Make some edits; one that finds no place is left out."""
        kinds: list[Callable[[], bool]] = [
            self.insert, self.insert, self.insert, self.insert_code, self.delete_lines,
            self.change_line, self.rewrite, self.rewrite, self.rename, self.move, self.add,
            self.add, self.add_code, self.add_code, self.twin, self.own_foreign_path, self.chmod,
            self.windows, self.add_binary, self.change_binary, self.remove, self.symlink,
            self.depend,
        ]  # fmt: skip
        for _ in range(edits):
            kind = self.random.choice(kinds)
            if kind():
                self.done[kind.__name__] += 1

    def token(self) -> str:
        """Return a new word that is nowhere else."""
        self.count += 1
        return f"tok{self.seed}n{self.count}"

    def files(self) -> list[str]:
        """Return the files that may be edited."""
        return sorted(set(tree_of(self.project)) - GENERATED - set(IGNORED) - {".gitignore"})

    def pick(self, suffixes: tuple[str, ...] = ("",)) -> tuple[str, list[str], str] | None:
        """Choose a text file; return its path, its lines and its line end."""
        chosen = [
            path for path in self.files() if path.endswith(suffixes)
            if not path.endswith(NO_COMMENTS) and not (self.project / path).is_symlink()
        ]  # fmt: skip
        self.random.shuffle(chosen)
        for path in chosen:
            text = text_of(tree_of_one(self.project / path))
            if text is not None:
                end = "\r\n" if "\r\n" in text else "\n"
                return path, text.splitlines(), end
        return None

    def write(self, path: str, lines: list[str], end: str) -> bool:
        """Write a file if it still is what its name says."""
        text = "".join(f"{line}{end}" for line in lines)
        if not is_sound(path, text):
            return False
        (self.project / path).write_bytes(text.encode())
        return True

    def line(self, path: str) -> str:
        """Return a new line that does no harm anywhere in the file."""
        words = f"{self.token()} {self.random.choice(('of our own', 'ours', 'ünï 東京'))}"
        return words if path.endswith(".md") else f"# {words}"

    def insert(self) -> bool:
        """Insert a few lines somewhere."""
        picked = self.pick()
        if picked is None:
            return False
        path, lines, end = picked
        at = self.random.randint(0, len(lines))
        new = [self.line(path) for _ in range(self.random.randint(1, 3))]
        return self.write(path, [*lines[:at], *new, *lines[at:]], end)

    def insert_code(self) -> bool:
        """Insert a function somewhere in a module."""
        picked = self.pick((".py",))
        if picked is None:
            return False
        path, lines, end = picked
        at = self.random.choice([*range(len(lines) // 2, len(lines) + 1)])
        name = self.token()
        code = ["", "", f"def {name}() -> str:", f'    return "{self.token()}"', "", ""]
        return self.write(path, [*lines[:at], *code, *lines[at:]], end)

    def delete_lines(self) -> bool:
        """Delete a few lines."""
        picked = self.pick()
        if picked is None or len(picked[1]) < 2:
            return False
        path, lines, end = picked
        at = self.random.randrange(len(lines))
        return self.write(path, lines[:at] + lines[at + self.random.randint(1, 4) :], end)

    def change_line(self) -> bool:
        """Put another line in the place of one."""
        picked = self.pick()
        if picked is None or not picked[1]:
            return False
        path, lines, end = picked
        at = self.random.randrange(len(lines))
        return self.write(path, [*lines[:at], self.line(path), *lines[at + 1 :]], end)

    def rewrite(self) -> bool:
        """Rewrite over 60 % of a file."""
        picked = self.pick()
        if picked is None:
            return False
        path, lines, end = picked
        kept = lines[: int(len(lines) * self.random.uniform(0, 0.38))]
        new = [self.line(path) for _ in range(max(3, len(lines) - len(kept)))]
        if path.endswith(".py"):
            new += [f"{self.token()} = {number}" for number in range(3)]
        return self.write(path, kept + new, end) or self.write(path, new, end)

    def folder(self) -> str:
        """Return one of the project's folders, or a new one."""
        parents = {path.rpartition("/")[0] for path in self.files()}
        if self.random.random() < 0.2:
            return f"{self.random.choice(sorted(parents))}/{self.token()}".lstrip("/")
        return self.random.choice(sorted(parents))

    def place(self, path: str, content: bytes) -> bool:
        """Write a new file, unless something is in the way."""
        target = self.project / path
        ways = [parent for parent in target.parents if parent.is_relative_to(self.project)]
        if os.path.lexists(target) or any(way.exists() and not way.is_dir() for way in ways):
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        return True

    def carry(self, folder: str) -> bool:
        """Move a file to `folder` under a new name."""
        path = self.random.choice(self.files())
        name = f"{self.token()}{Path(path).suffix}"
        target = self.project / folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (self.project / path).rename(target)
        return True

    def rename(self) -> bool:
        """Give a file another name in its folder."""
        path = self.random.choice(self.files())
        target = (self.project / path).parent / f"{self.token()}{Path(path).suffix}"
        (self.project / path).rename(target)
        return True

    def move(self) -> bool:
        """Move a file to another folder."""
        return self.carry(self.folder())

    def own_text(self, path: str) -> bytes:
        """Return a file of the owner's, in one of many shapes."""
        lines = [self.line(path) for _ in range(self.random.randint(0, 6))]
        end = self.random.choice(("\n", "\n", "\r\n"))
        last = self.random.choice((end, end, ""))
        return (end.join(lines) + (last if lines else "")).encode()

    def add(self) -> bool:
        """Add a file to a folder of the template's."""
        name = self.random.choice(("{}.md", "{}.txt", "ünï {} 東京.md", "two words {}.yaml", "{}"))
        path = f"{self.folder()}/{name.format(self.token())}".lstrip("/")
        return self.place(path, self.own_text(path))

    def add_code(self) -> bool:
        """Add a module that imports others of the app's."""
        folders = sorted({
            path.rpartition("/")[0] for path in self.files()
            if path.startswith(("src/app/", "tests/")) and path.endswith(".py")
        })  # fmt: skip
        if not folders:
            return False
        folder = self.random.choice(folders)
        modules = [
            path.removeprefix("src/").removesuffix(".py").replace("/", ".")
            for path in self.files()
            if path.startswith("src/app/") and path.endswith(".py") and path.count(" ") == 0
            if not path.endswith("__init__.py")
        ]
        lines = [f'"""{self.token()}."""', ""]
        for module in self.random.sample(modules, min(3, len(modules))):
            parent, _, last = module.rpartition(".")
            form = self.random.choice(("import {0}", "from {1} import {2}", 'N = "{0}:thing"'))
            lines.append(form.format(module, parent, last))
        near = [
            module
            for module in modules
            if f"src/{module}".replace(".", "/").rpartition("/")[0] == folder
        ]
        if near:
            lines.append(f"from . import {self.random.choice(near).rpartition('.')[2]}")
        lines += ["", f"{self.token()} = 1"]
        path = f"{folder}/{self.token()}.py"
        return self.place(path, "".join(f"{line}\n" for line in lines).encode())

    def twin(self) -> bool:
        """Add files of one name to two folders, which may become one folder."""
        name = f"{self.token()}.md"
        placed = [
            self.place(f"{folder}/{name}".lstrip("/"), self.own_text(name))
            for folder in {self.folder(), self.folder()}
        ]
        return any(placed)

    def own_foreign_path(self) -> bool:
        """Use a path that another variant uses as well."""
        path = self.random.choice([*self.foreign, "MIGRATION.md"])
        lines = [self.line(path) for _ in range(self.random.randint(1, 5))]
        return self.place(path, "".join(f"{line}\n" for line in lines).encode())

    def chmod(self) -> bool:
        """Change a file's mode."""
        path = self.project / self.random.choice(self.files())
        if path.is_symlink():
            return False
        path.chmod(self.random.choice((0o755, 0o600, 0o644, 0o700)))
        return True

    def windows(self) -> bool:
        """Change a file's line ends."""
        picked = self.pick()
        if picked is None:
            return False
        path, lines, end = picked
        return self.write(path, lines, "\n" if end == "\r\n" else "\r\n")

    def add_binary(self) -> bool:
        """Add a file that is no text."""
        path = f"{self.folder()}/{self.token()}.bin".lstrip("/")
        return self.place(path, b"\0\xff" + self.random.randbytes(40))

    def change_binary(self) -> bool:
        """Change one of the template's files to something that is no text."""
        path = self.project / self.random.choice(self.files())
        if path.is_symlink() or path.suffix == ".toml":
            return False
        path.write_bytes(b"\0\xfe" + self.token().encode() + self.random.randbytes(9))
        return True

    def remove(self) -> bool:
        """Delete a file."""
        (self.project / self.random.choice(self.files())).unlink()
        return True

    def symlink(self) -> bool:
        """Add a symlink out of the project, to something in it, or to nothing."""
        leads = self.random.choice(("../../outside.txt", "README.md", "nowhere", "src", "/tmp"))  # noqa: S108 - never opened
        target = self.project / f"{self.folder()}/{self.token()}".lstrip("/")
        if os.path.lexists(target):
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(leads)
        return True

    def depend(self) -> bool:
        """Add a dependency, and a table for a tool."""
        path = "pyproject.toml"
        if not (self.project / path).is_file():
            return False
        text = text_of(tree_of_one(self.project / path))
        if text is None or "dependencies = [" not in text or "\r" in text:
            return False
        name = self.token()
        text = re.sub(
            r'^(dependencies = \[\n?)( *)"', rf'\1\2"{name}>=1,<2",\n\2"', text, count=1, flags=re.M
        )
        text += f"\n[tool.{self.token()}]\nours = true\n"
        return self.write(path, text.splitlines(), "\n")


def tree_of_one(path: Path) -> File:
    """Return one file."""
    return File(stat.S_IMODE(path.stat().st_mode), path.read_bytes())


def is_sound(path: str, text: str) -> bool:
    """Tell whether a text is what its file's name says."""
    try:
        if path.endswith(".py"):
            ast.parse(text)
        elif path.endswith(".toml"):
            tomllib.loads(text)
    except (SyntaxError, ValueError):
        return False
    return True


class Finding(NamedTuple):
    """One regeneration and the projects that it is compared with."""

    base: Tree
    ours: Tree
    theirs: Tree
    after: Tree
    moves: Moves
    said: str
    unmerged: frozenset[str]
    in_git: bool


class Check:
    """Holds the outcome of one regeneration against all that it may not do."""

    def __init__(self, found: Finding) -> None:
        self.found = found
        self.marked = {
            path
            for path, file in found.after.items()
            if MARKER.search(file.content)
            and file.content != found.ours.get(path, File(0, b"")).content
        }
        own = set(found.ours) - set(found.base)
        self.contested = own | {found.moves.home(path) for path in own}

    def problems(self) -> Iterator[str]:
        """Yield everything that is wrong."""
        yield from self.markers()
        yield from self.lines()
        yield from self.untouched()
        yield from self.owned()
        yield from self.deleted()
        yield from self.edited()
        yield from self.explained()
        yield from self.sound()

    def reported(self, path: str) -> bool:
        """Tell whether the person was told of `path`, by its old or its new place."""
        return path in self.found.said or self.found.moves.home(path) in self.found.said

    def conflicted(self, path: str) -> bool:
        """Tell whether a file of the new tree is a conflict that was reported."""
        return path in self.found.said and (
            path in self.found.unmerged if self.found.in_git else path in self.marked
        )

    def markers(self) -> Iterator[str]:
        """Every marker was reported, to the person and to git."""
        for path in sorted(self.marked):
            if path not in self.found.said:
                yield f"{path} has conflict markers and is not listed"
            if self.found.in_git and path not in self.found.unmerged:
                yield f"{path} has conflict markers and git does not call it unmerged"
        for path in sorted(self.found.unmerged):
            if path not in self.found.said:
                yield f"{path} is unmerged and is not listed"

    def lines(self) -> Iterator[str]:
        """Every line of the owner's is there, once, in its file."""
        after: dict[str, list[tuple[str, str]]] = {}
        for path, file in self.found.after.items():
            if path == "MIGRATION.md":
                # The new guide names files; what the owner had written stands below it.
                own = self.found.ours.get(path, File(0, b"")).content
                file = file._replace(content=own if file.content.endswith(own) else b"")
            for line in file.content.decode("utf-8", "surrogateescape").splitlines():
                for token in set(TOKEN.findall(line)):
                    after.setdefault(token, []).append((path, line))
        for path, file in self.found.ours.items():
            home = self.found.moves.home(path)
            for line in file.content.decode("utf-8", "surrogateescape").splitlines():
                for token in set(TOKEN.findall(line)):
                    places = after.get(token, [])
                    if not places:
                        yield f"{path}: the line {line!r} is lost"
                        continue
                    if not NAMES_CODE.search(line) and all(line != new for _, new in places):
                        yield f"{path}: the line {line!r} became {places[0][1]!r}"
                    files = {place for place, _ in places}
                    if not self.in_markers(files):
                        if len(places) > line_count(self.found.ours, token):
                            yield f"{path}: the line {line!r} is there {len(places)} times"
                        if not files & {path, home} and not self.reported(path):
                            yield f"{path}: the line {line!r} wandered to {sorted(files)}"

    def in_markers(self, files: set[str]) -> bool:
        """Tell whether one of these files is a conflict that was reported."""
        return any(self.conflicted(path) for path in files)

    def untouched(self) -> Iterator[str]:
        """Compare untouched files with the new variant; dropped ones are gone."""
        found = self.found
        expected: dict[str, File | None] = dict.fromkeys(found.base)
        touched = {
            found.moves.home(path)
            for path, file in found.base.items()
            if found.ours.get(path) != file
        }
        expected |= found.theirs
        for path, file in expected.items():
            if path in self.contested or path in touched or path in GENERATED:
                continue
            if found.ours.get(path) != found.base.get(path):
                continue
            if found.after.get(path) != file:
                yield f"{path}, which the owner never touched, is not as the new variant has it"

    def owned(self) -> Iterator[str]:
        """The owner's own files are there, the same but for followed names."""
        found = self.found
        for path in sorted(set(found.ours) - set(found.base)):
            homes = [home for home in (found.moves.home(path), path) if home in found.after]
            if not homes:
                if not self.reported(path):
                    yield f"{path}, the owner's own file, is gone"
                continue
            if any(self.conflicted(home) for home in homes):
                continue
            if path == "MIGRATION.md":
                # The new guide stands above what was there.
                if not found.after[path].content.endswith(found.ours[path].content):
                    yield f"{path}, the owner's own file, was changed"
                continue
            if all(self.differs(found.ours[path], found.after[home]) for home in homes):
                if any(home in found.theirs for home in homes):
                    continue  # a merge; its lines are looked at one by one
                if any(self.is_renamed(path, home) for home in homes):
                    continue
                yield f"{path}, the owner's own file, was changed"

    def is_renamed(self, path: str, home: str) -> bool:
        """Tell whether this is a file of the template's under a new name, merged as such."""
        found = self.found
        ours, after = found.ours[path], found.after[home]
        return any(
            self.is_sum(found.base[old], ours, theirs, after)
            for old in set(found.base) - set(found.ours)
            if (theirs := found.theirs.get(found.moves.home(old))) is not None
            and after.mode == ours.mode
        )

    @staticmethod
    def differs(old: File, new: File) -> bool:
        """Tell whether a file of the owner's is another one, followed names apart."""
        if old == new:
            return False
        if old.mode != new.mode or old.is_link != new.is_link:
            return True
        before, after = text_of(old), text_of(new)
        if before is None or after is None or ("\r\n" in before) != ("\r\n" in after):
            return True
        changed = Counter(before.splitlines())
        changed.subtract(Counter(after.splitlines()))
        return not all(NAMES_CODE.search(line) for line, count in changed.items() if count)

    def deleted(self) -> Iterator[str]:
        """Check that deleted files stay deleted, or are reported."""
        found = self.found
        for path in sorted(set(found.base) - set(found.ours)):
            home = found.moves.home(path)
            if home in found.after and home not in self.contested and not self.reported(path):
                yield f"{home} is back, though the owner deleted {path}"

    def edited(self) -> Iterator[str]:
        """An edited file is the sum of both sides, line by line, with the owner's mode and ends."""
        found = self.found
        for path in sorted(set(found.base) & set(found.ours) - GENERATED):
            base, ours, home = found.base[path], found.ours[path], found.moves.home(path)
            if ours == base or home in self.contested or path in self.contested:
                continue
            where = next((place for place in (home, path) if place in found.after), None)
            if where is None:
                # Line ends alone are git's on Windows, and no edit.
                if ours.content.replace(b"\r\n", b"\n") != base.content.replace(b"\r\n", b"\n"):
                    yield f"{path}, which the owner edited, is gone"
                continue
            after = found.after[where]
            if after.mode != ours.mode and ours.mode != base.mode:
                yield f"{where} lost the mode {ours.mode:o} that the owner gave it"
            if self.conflicted(where):
                continue
            theirs = found.theirs.get(home)
            if theirs is None:
                if self.differs(ours, after):
                    yield f"{where}, dropped but edited, was changed"
                if not self.reported(path):
                    yield f"{where} was kept, which the new variant drops, and nobody was told"
            elif (
                not self.is_sum(base, ours, theirs, after)
                and not self.reported(path)
                # A section that the owner deleted stays deleted, whatever it says by now.
                and not (path.endswith(".md") and self.is_sum(base, ours, base, after))
            ):
                yield f"{where} is not the sum of both sides"

    @staticmethod
    def is_sum(base: File, ours: File, theirs: File, after: File) -> bool:
        """Tell whether each line is as often in the merged file as both sides together want it."""
        texts = [text_of(file) for file in (base, ours, theirs, after)]
        if None in texts:
            # What is no text is the side that changed it; both: the owner's.
            return after.content == ours.content or ours.content == base.content
        counts = [Counter((text or "").splitlines()) for text in texts]
        for line in {line for count in counts for line in count if line.strip()}:
            if NAMES_CODE.search(line):
                continue
            in_base, in_ours, in_theirs, in_after = (count[line] for count in counts)
            if in_after != max(0, in_ours + in_theirs - in_base):
                return False
        ends = (texts[1] or "").count("\r\n")
        if ends and ends == len((texts[1] or "").splitlines()):
            return (texts[3] or "").count("\r\n") == len((texts[3] or "").splitlines())
        return True

    def explained(self) -> Iterator[str]:
        """Nothing is there that nobody put there."""
        found = self.found
        known = {*GENERATED, *found.theirs, *found.ours}
        known |= {found.moves.home(path) for path in found.ours}
        for path in sorted(set(found.after) - known):
            if path not in found.said:
                yield f"{path} came from nowhere"

    def sound(self) -> Iterator[str]:
        """Check that Python files are Python still, and that their imports resolve."""
        found = self.found
        for path, file in sorted(found.after.items()):
            if not path.endswith(".py") or file.is_link or self.conflicted(path):
                continue
            text = text_of(file)
            if text is None:
                continue
            sources = [old for old in found.ours if found.moves.home(old) == path or old == path]
            if not is_sound(path, text):
                if all(is_sound(old, text_of(found.ours[old]) or "") for old in sources):
                    yield f"{path} is no Python any more"
                continue
            # What the new variant has and is not there is what the owner deleted or broke.
            lost = unresolved(path, text, found.after) & unresolved(path, text, found.theirs)
            for old in sources:
                lost -= {new_name(found.moves, name) for name in lost_before(old, found.ours)}
                lost -= lost_before(old, found.ours)
            for name in sorted(lost):
                if sources and not self.reported(path):
                    yield f"{path} imports {name}, which is not there any more"


def line_count(files: Tree, token: str) -> int:
    """Return in how many lines a token was."""
    word = token.encode()
    return sum(
        sum(token in TOKEN.findall(line) for line in lines_of(file))
        for file in files.values()
        if word in file.content
    )


def lines_of(file: File) -> list[str]:
    """Return a file's lines, also when it is no text."""
    return file.content.decode("utf-8", "surrogateescape").splitlines()


def new_name(moves: Moves, name: str) -> str:
    """Return what a module is called in the new variant."""
    home = moves.home(f"src/{name.replace('.', '/')}.py")
    return home.removeprefix("src/").removesuffix(".py").replace("/", ".")


def lost_before(path: str, files: Tree) -> set[str]:
    """Return the modules that a file of the owner's tree imported in vain already."""
    text = text_of(files[path]) if not files[path].is_link else None
    return unresolved(path, text, files) if text is not None and is_sound(path, text) else set()


def resolves(name: str, files: Tree) -> bool:
    """Tell whether a dotted name of the app's is a module or a package."""
    path = f"src/{name.replace('.', '/')}"
    return f"{path}.py" in files or any(file.startswith(f"{path}/") for file in files)


def has(module: str, name: str, files: Tree) -> bool:
    """Tell whether ``from module import name`` may work."""
    path = f"src/{module.replace('.', '/')}"
    package = files.get(f"{path}/__init__.py")
    return (
        f"{path}.py" in files
        or resolves(f"{module}.{name}", files)
        or (package is not None and name.encode() in package.content)
    )


def unresolved(path: str, text: str, files: Tree) -> set[str]:
    """Return the app's modules that a file imports and that are not there."""
    if not path.startswith(("src/", "tests/")):
        return set()
    package = path.removeprefix("src/").split("/")[:-1]
    lost: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            lost |= {alias.name for alias in node.names if not resolves(alias.name, files)}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *(node.module.split(".") if node.module else [])])
            lost |= {
                f"{module}.{alias.name}"
                for alias in node.names
                if not has(module, alias.name, files)
            }
    return {name for name in lost if name.startswith("app.")}


class Run(NamedTuple):
    """One run: from where to where, and what came of it."""

    name: str
    problems: list[str]
    edits: Counter[str]
    facts: Counter[str]


def fuzz(pristine: PristineProjects, old: str, new: str, seed: int, *, keep: bool = False) -> Run:
    """Let an owner with this seed work on `old`, regenerate it as `new`, and look."""
    name = f"{old}-to-{new}-{seed}"
    user = pristine.user(name)
    project = user.out / pristine.slug
    shutil.copytree(pristine.projects[old], project, symlinks=True)
    own_ignores(project)
    foreign = {
        path for variant in pristine.variants for path in pristine.trees[variant]
        if path not in pristine.trees[old]
    }  # fmt: skip
    owner = Owner(seed, project, foreign)
    owner.work(owner.random.randint(1, 12))
    in_git = owner.random.random() < 0.8
    head = commit_all(project) if in_git else ""
    ours, empty = tree_of(project), empty_folders(project)
    done = user.cookiecutter(
        pristine.template, "--no-input", "-f", f"project_slug={pristine.slug}", f"variant={new}"
    )
    after, said = tree_of(project), done.stdout + done.stderr
    problems = [f"exit code {done.returncode}:\n{said}"] if done.returncode else []
    if done.returncode and after != ours:
        problems.append("it was refused, and the project is another one")
    unmerged: frozenset[str] = frozenset()
    if not problems:
        if in_git:
            unmerged = unmerged_paths(project)
            if git(project, "rev-parse", "HEAD") != head:
                problems.append("HEAD is another commit")
        base = pristine.trees[old] | {
            path: ours[path] for path in (".gitignore",) if path not in pristine.trees[old]
        }
        theirs = pristine.trees[new]
        moves = Moves(pristine.template, old, new)
        mine = {path: file for path, file in ours.items() if path not in IGNORED}
        rest = {path: file for path, file in after.items() if path not in IGNORED}
        if {path: after.get(path) for path in IGNORED} != {path: ours[path] for path in IGNORED}:
            problems.append("an ignored file was touched")
        if ".gitignore" not in pristine.trees[old]:
            # Ours for the test's sake, in a template that has none.
            problems += [] if rest.pop(".gitignore", None) == mine.pop(".gitignore") else ["ignore"]
            del base[".gitignore"]
        found = Finding(base, mine, theirs, rest, moves, said, unmerged, in_git)
        problems += Check(found).problems()
        problems += beside(user.out, project, ours, new, in_git=in_git)
        problems += [f"{path}/ was left empty" for path in sorted(empty_folders(project) - empty)]
        if record_of(project)["variant"] != new:
            problems.append("the record names another variant")
        if old == new:
            problems += [
                f"{path} changed, though the variant did not"
                for path in sorted(set(ours) | set(after))
                if ours.get(path) != after.get(path) and path not in GENERATED
            ]
    facts = Counter(
        runs=1,
        refused=int(bool(done.returncode)),
        in_git=int(in_git),
        conflicts=len(unmerged),
        with_conflicts=int(bool(unmerged)),
        lines=sum(len(TOKEN.findall(line)) for file in ours.values() for line in lines_of(file)),
        problems=len(problems),
    )
    if not keep or not problems:
        shutil.rmtree(pristine.folder / name)
    return Run(name, problems, owner.done, facts)


def own_ignores(project: Path) -> None:
    """Give a project files that git ignores."""
    if not (project / ".gitignore").exists():
        (project / ".gitignore").write_text(".venv/\n*.db\n__pycache__/\n")
    for path, content in IGNORED.items():
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_bytes(content)


def unmerged_paths(project: Path) -> frozenset[str]:
    """Return what git calls unmerged."""
    listed = git(project, "ls-files", "-z", "--unmerged").split("\0")
    return frozenset(line.partition("\t")[2] for line in listed if line)


def beside(out: Path, project: Path, ours: Tree, new: str, *, in_git: bool) -> Iterator[str]:
    """Without git there is a full copy beside the project; with it there is nothing."""
    copy = out / f"{project.name}.before-{new}"
    expected = {project} if in_git else {project, copy}
    if set(out.iterdir()) != expected:
        yield f"beside the project: {sorted(path.name for path in out.iterdir())}"
    elif not in_git and tree_of(copy) != without_leftovers(ours):
        yield "the copy beside the project is not what the project was"


def without_leftovers(files: Tree) -> Tree:
    """Return what a copy holds: not what tools make again."""
    return {
        path: file for path, file in files.items() if not LEFTOVERS.intersection(path.split("/"))
    }


def schedule(variants: Iterable[str], runs: int, seed: int) -> Iterator[tuple[str, str, int]]:
    """Yield pairs of variants and seeds: every pair first once, then again."""
    pairs = list(product(variants, repeat=2))
    # From one variant to itself is worth less than from one to another.
    pairs = [pair for pair in pairs if pair[0] != pair[1]] * 3 + [
        pair for pair in pairs if pair[0] == pair[1]
    ]
    for number in range(runs):
        old, new = pairs[number % len(pairs)]
        yield old, new, seed + number


def real_template(folder: Path) -> Path:
    """Return a copy of this template, committed."""
    from tests.baking import copy_of_repository

    return copy_of_repository(folder / "git" / "template")


def toy_template(folder: Path) -> Path:
    """Return the toy of three variants, committed."""
    template = three_variants(folder / "template")
    commit_all(template)
    return template


TEMPLATES = {"toy": toy_template, "real": real_template}


def main() -> int:
    """Fuzz, print the sums, and return 1 when anything was lost."""
    parser = argparse.ArgumentParser(description="Fuzz regenerating.")
    parser.add_argument(
        "runs", nargs="?", type=int, default=500, help="how many, for each template"
    )
    parser.add_argument("--seed", type=int, default=1, help="the first run's seed")
    parser.add_argument("--template", choices=("toy", "real", "both"), default="both")
    parser.add_argument("--pair", nargs=2, help="only from this variant to that one")
    parser.add_argument("--keep", type=Path, help="keep what went wrong in this folder")
    given = parser.parse_args()
    names = list(TEMPLATES) if given.template == "both" else [given.template]
    bad = 0
    for name in names:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as temporary:
            folder = given.keep / name if given.keep else Path(temporary)
            folder.mkdir(parents=True, exist_ok=True)
            pristine = PristineProjects(TEMPLATES[name](folder), folder)
            edits: Counter[str] = Counter()
            facts: Counter[str] = Counter()
            for old, new, seed in schedule(pristine.variants, given.runs, given.seed):
                if given.pair:
                    old, new = given.pair
                run = fuzz(pristine, old, new, seed, keep=given.keep is not None)
                edits += run.edits
                facts += run.facts
                for problem in run.problems:
                    print(f"{name} {old} {new} --seed {seed}: {problem}", flush=True)
            bad += facts["problems"]
            print(
                f"{name}: {facts['runs']} runs from seed {given.seed}, "
                f"{facts['in_git']} of them in git, {sum(edits.values())} edits, "
                f"{facts['lines']} lines of the owners'; {facts['refused']} refused, "
                f"{facts['conflicts']} conflicts in {facts['with_conflicts']} runs, all reported; "
                f"{facts['problems']} problems"
            )
            print("  " + ", ".join(f"{kind} {count}" for kind, count in sorted(edits.items())))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
