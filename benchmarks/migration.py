"""Compare what becomes of an owner's edits: ``uv run python benchmarks/migration.py [rounds]``.

One template, small -> big, in the form that each tool wants: modules move, one changes, one is
dropped, one is new. One owner, who edits a small project. Each tool then makes it big:
``cookiecutter -f`` with a hook that prunes as templates in the wild do, the same with ``-s``,
``cruft update``, ``copier update``, and this template's engine. Printed: what became of each edit,
and how long each tool took, as whole processes in turns so that a busy machine slows all. Exits
with 1 when ours loses an edit or is slower than cruft.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "hooks")]

from tests.baking import TREE, commit_all, environment, git, tool  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SLUG = "voice-app"
ANSWERS = {"project_name": "Voice App", "project_slug": SLUG, "description": "Calls people."}

# What a function of the template's looks like; long enough that a line more makes no other file.
FUNCTION = (
    '\n\ndef {name}(number: int) -> int:\n    """Do {name} with a number."""\n    return {n}\n'
)


def module(name: str, *functions: str) -> str:
    """Return a module of the template's."""
    body = "".join(FUNCTION.format(name=each, n=number) for number, each in enumerate(functions))
    return f'"""The {name}."""\n{body}'


# Both name their own place, so that moving them changes a line as well.
CLIENT = module(
    "client of `app.retell`", "connect", "call", "hang_up", "listen", "transfer", "retry", "close"
)
TYPES = module(
    "types of `app.retell`", "parse", "render", "check", "compare", "convert", "count", "measure"
)
STORE = module("store", "load", "save", "forget", "list_all", "search", "sort", "compact")
QUEUE = module("queue", "put", "take", "retry_later", "drain")
GUIDE = "# Guide\n\nRead this first.\n"
APP = '''"""The app."""

from app.{client} import call, close


def main() -> int:
    """Call."""
    return call({number}) + close(1)


def stop() -> int:
    """Stop."""
    return close(0)
'''

MOVED, OLD = "src/app/services/retell", "src/app/retell"

SMALL = {
    "src/app/__init__.py": '"""The package."""\n',
    "src/app/app.py": APP.format(client="retell.client", number=1),
    "src/app/retell/client.py": CLIENT,
    "src/app/retell/types.py": TYPES,
    "src/app/store.py": STORE,
    "docs/guide.md": GUIDE,
    "docs/faq.md": "# Questions\n",
}
BIG = {
    "src/app/__init__.py": '"""The package."""\n',
    "src/app/app.py": APP.format(client="services.retell.client", number=2),
    "src/app/services/retell/client.py": CLIENT.replace("app.retell", "app.services.retell"),
    "src/app/services/retell/types.py": TYPES.replace("app.retell", "app.services.retell"),
    "src/app/queue.py": QUEUE,
    "docs/guide.md": GUIDE,
    "docs/faq.md": "# Questions\n",
}
# The template's next version, which every tool updates to.
NEWER_FAQ = "# Questions\n\nWhy? Because.\n"

PRUNE = """\
import pathlib
import shutil

SMALL = {small!r}
BIG = {big!r}

for path in SMALL if "{{{{ cookiecutter.variant }}}}" == "big" else BIG:
    if pathlib.Path(path).is_dir():
        shutil.rmtree(path)
    elif pathlib.Path(path).exists():
        pathlib.Path(path).unlink()
"""
MANIFEST = """\
name: {name}
title: {name}
summary: The {name} one.
audience: for anybody

fits:
  team: "1"
  daily_users: "1"
  releases: Weekly
  failure_isolation: None
  complexity: Low
  time_to_market: Fastest

layers:
  - base
  - {name}
{place}
steps:
  - Make it {name}
"""


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Write files below `folder`."""
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")


def by_variant(small: str, big: str, variable: str) -> str:
    """Return a file of both variants, in the template language."""
    return f"{{% if {variable} == 'big' %}}{big}{{% else %}}{small}{{% endif %}}\n"


def questions(**more: object) -> str:
    """Return a cookiecutter.json."""
    return json.dumps(ANSWERS | {"variant": ["small", "big"]} | more, indent=2)


def pruning_template(folder: Path) -> Path:
    """Make a template of cookiecutter's that holds everything and prunes by a hook."""
    tree = "{{cookiecutter.project_slug}}"
    app = by_variant(
        SMALL["src/app/app.py"], BIG["src/app/app.py"].rstrip(), "cookiecutter.variant"
    )
    files = {f"{tree}/{path}": text for path, text in (SMALL | BIG).items()}
    files |= {
        f"{tree}/src/app/app.py": app,
        "cookiecutter.json": questions(),
        "hooks/post_gen_project.py": PRUNE.format(
            small=["src/app/retell", "src/app/store.py"],
            big=["src/app/services", "src/app/queue.py"],
        ),
    }
    write(folder, files)
    return release(folder, f"{tree}/docs/faq.md")


def copier_template(folder: Path) -> Path:
    """Make a template of copier's, whose file names are conditions."""

    def only(variant: str, name: str) -> str:
        return f"{{% if variant == '{variant}' %}}{name}{{% endif %}}"

    app = by_variant(SMALL["src/app/app.py"], BIG["src/app/app.py"].rstrip(), "variant")
    retell, services = only("small", "retell"), only("big", "services")
    write(
        folder,
        {
            "copier.yml": "_subdirectory: template\nvariant:\n  type: str\n  default: small\n",
            "template/{{_copier_conf.answers_file}}.jinja": "{{ _copier_answers|to_nice_yaml }}\n",
            "template/src/app/__init__.py": SMALL["src/app/__init__.py"],
            "template/src/app/app.py.jinja": app,
            f"template/src/app/{retell}/client.py": CLIENT,
            f"template/src/app/{retell}/types.py": TYPES,
            f"template/src/app/{services}/retell/client.py": BIG[f"{MOVED}/client.py"],
            f"template/src/app/{services}/retell/types.py": BIG[f"{MOVED}/types.py"],
            f"template/src/app/{only('small', 'store.py')}.jinja": STORE,
            f"template/src/app/{only('big', 'queue.py')}.jinja": QUEUE,
            "template/docs/guide.md": GUIDE,
            "template/docs/faq.md": SMALL["docs/faq.md"],
        },
    )
    return release(folder, "template/docs/faq.md")


def our_template(folder: Path) -> Path:
    """Make a template with manifests and this repository's hooks."""
    shutil.copytree(ROOT / "hooks", folder / "hooks", ignore=shutil.ignore_patterns("__pycache__"))
    place = {"small": "place: {}\n", "big": "place:\n  src/app/retell/: src/app/services/retell/\n"}
    for name, rows in place.items():
        write(folder, {f"variants/{name}.yaml": MANIFEST.format(name=name, place=rows)})
    own = {"src/app/app.py", "src/app/store.py"}
    tree = {f"{'small' if path in own else 'base'}/{path}": text for path, text in SMALL.items()}
    tree |= {
        "big/src/app/queue.py": QUEUE,
        # In the tree everything is where the small variant has it.
        "big/src/app/app.py": APP.format(client="retell.client", number=2),
    }
    write(folder, {f"{TREE}/{path}": text for path, text in tree.items()})
    write(folder, {"cookiecutter.json": questions(_copy_without_render=["*.py", "*.md"])})
    return release(folder, f"{TREE}/base/docs/faq.md")


def release(folder: Path, faq: str) -> Path:
    """Commit and tag a template's first version, and prepare the second on a branch."""
    commit_all(folder)
    git(folder, "tag", "v1.0.0")
    git(folder, "checkout", "--quiet", "-b", "newer")
    write(folder, {faq: NEWER_FAQ})
    commit_all(folder)
    git(folder, "checkout", "--quiet", "main")
    return folder


def publish(template: Path) -> None:
    """Let a template's second version be the newest."""
    git(template, "merge", "--quiet", "newer")
    git(template, "tag", "v2.0.0")


def work_on(project: Path) -> None:
    """Make the owner's edits."""

    def edit(path: str, old: str, new: str) -> None:
        text = (project / path).read_text(encoding="utf-8")
        if text.count(old) != 1:
            raise ValueError(f"{path} has no single {old!r}")
        (project / path).write_text(text.replace(old, new), encoding="utf-8")

    edit("src/app/retell/client.py", "Do transfer with", "OURS-SIMILAR: do transfer with")
    lines = "".join(f"OURS_REWRITTEN_{number} = {number}\n" for number in range(40))
    write(project, {"src/app/retell/types.py": f'"""The types."""\n\n{lines}'})
    edit("src/app/app.py", '"""Stop."""', '"""OURS-CHANGED: stop."""')
    edit("src/app/store.py", "Do search with", "OURS-DROPPED: do search with")
    own = '"""OURS-OWN."""\n\nfrom app.retell import client\n\nCALL = client.call\n'
    write(
        project,
        {
            "src/app/own.py": own,
            "src/app/retell/inner.py": '"""OURS-INNER."""\n',
            "src/app/queue.py": '"""OURS-TARGET."""\n\nOURS_TARGET = 1\n',
        },
    )
    (project / "docs/guide.md").unlink()


def where(project: Path, words: str, home: str, old: str = "") -> str:
    """Say where the words of an edit are now."""
    found = [
        path
        for path in sorted(project.rglob("*"))
        if path.is_file() and ".git" not in path.relative_to(project).parts
        if words.encode() in path.read_bytes()
    ]
    places = [path.relative_to(project).as_posix() for path in found]
    if home in places:
        if "<<<<<<<" in (project / home).read_text(encoding="utf-8"):
            return "conflict"
        rejected = ", a change rejected" if (project / f"{home}.rej").exists() else ""
        return f"{'carried' if old else 'kept'}{rejected}"
    if old in places:
        return "left behind"
    return f"in {Path(places[0]).name}" if places else "**lost**"


def kept_file(project: Path) -> str:
    """Say what became of an edited file that the bigger variant drops."""
    return where(project, "OURS-DROPPED", "src/app/store.py")


def file_of_both(project: Path) -> str:
    """Say what became of a file that the owner and the bigger variant both have."""
    found = where(project, "OURS_TARGET", "src/app/queue.py")
    text = (project / "src/app/queue.py").read_text(encoding="utf-8")
    return found if "def put" in text or found == "**lost**" else f"{found}, the variant's missing"


def own_file(project: Path) -> str:
    """Say what became of the owner's own file, and whether its import still leads somewhere."""
    found = where(project, "OURS-OWN", "src/app/own.py")
    code = "import app.own"
    done = subprocess.run(
        (sys.executable, "-B", "-c", code),
        cwd=project / "src",
        capture_output=True,
        check=False,
    )
    return found if done.returncode == 0 else f"{found}, its import broken"


def deleted_file(project: Path) -> str:
    """Say whether the file that the owner deleted is back."""
    return "returns" if (project / "docs/guide.md").exists() else "stays gone"


EDITS: dict[str, Callable[[Path], str]] = {
    "moved, similar": lambda p: where(p, "OURS-SIMILAR", f"{MOVED}/client.py", f"{OLD}/client.py"),
    "moved, rewritten": lambda p: where(
        p, "OURS_REWRITTEN_30", f"{MOVED}/types.py", f"{OLD}/types.py"
    ),
    "changed by both": lambda p: where(p, "OURS-CHANGED", "src/app/app.py"),
    "dropped file": kept_file,
    "own file": own_file,
    "own file in a folder that moves": lambda p: where(
        p, "OURS-INNER", f"{MOVED}/inner.py", f"{OLD}/inner.py"
    ),
    "own file at a new path": file_of_both,
    "deleted file": deleted_file,
}
# What may be said of ours. The file that both have cannot be merged without asking.
GOOD = {"carried", "kept", "stays gone", "conflict"}


class Contestant(NamedTuple):
    """A tool: how it bakes the small project and how it makes it big."""

    name: str
    template: Path
    create: tuple[str, ...]
    update: tuple[str, ...]
    inside: bool


def contestants(folder: Path) -> list[Contestant]:
    """Make the templates and return the tools."""
    cookiecutter = (sys.executable, "-m", "cookiecutter")
    big = ("--no-input", "-f", "variant=big")
    ours = our_template(folder / "ours")
    plain, crufted = pruning_template(folder / "plain"), pruning_template(folder / "crufted")
    copied = copier_template(folder / "copied")
    create = ("--no-input", "variant=small")
    copier, cruft = str(tool("copier")), str(tool("cruft"))
    small_json, big_json = json.dumps({"variant": "small"}), json.dumps({"variant": "big"})
    return [
        Contestant(
            "`cookiecutter -f`", plain, (*cookiecutter, str(plain), *create),
            (*cookiecutter, str(plain), *big), inside=False,
        ),
        Contestant(
            "`cookiecutter -f -s`", plain, (*cookiecutter, str(plain), *create),
            (*cookiecutter, str(plain), *big, "-s"), inside=False,
        ),
        Contestant(
            "`cruft update`", crufted,
            (cruft, "create", str(crufted), "--no-input", "--extra-context", small_json),
            (cruft, "update", "-y", "--variables-to-update", big_json), inside=True,
        ),
        Contestant(
            "`copier update`", copied,
            (copier, "copy", "--defaults", "--quiet", str(copied), SLUG),
            (copier, "update", "--defaults", "--quiet", "--data", "variant=big"), inside=True,
        ),
        Contestant(
            "this template", ours, (*cookiecutter, str(ours), *create),
            (*cookiecutter, str(ours), *big), inside=False,
        ),
    ]  # fmt: skip


def prepare(contestant: Contestant, folder: Path, home: Path) -> Path:
    """Bake the small project and let the owner work on it; return the folder above it."""
    folder.mkdir()
    run(contestant.create, folder, home, check=True)
    project = folder / SLUG
    commit_all(project)
    work_on(project)
    commit_all(project)
    return folder


def run(command: tuple[str, ...], cwd: Path, home: Path, *, check: bool) -> int:
    """Run a command and return its exit code."""
    done = subprocess.run(
        command, cwd=cwd, env=environment(cwd, home), capture_output=True, text=True, check=False
    )
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.returncode


class Update(NamedTuple):
    """One update: its exit code, its seconds, and what became of each edit."""

    code: int
    seconds: float
    fates: dict[str, str]


def update(contestant: Contestant, prepared: Path, home: Path) -> Update:
    """Make a copy of the prepared project big, and look."""
    with tempfile.TemporaryDirectory(dir=prepared.parent) as name:
        project = Path(name) / SLUG
        shutil.copytree(prepared / SLUG, project, symlinks=True)
        start = time.perf_counter()
        cwd = project if contestant.inside else project.parent
        code = run(contestant.update, cwd, home, check=False)
        seconds = time.perf_counter() - start
        return Update(code, seconds, {name: look(project) for name, look in EDITS.items()})


def compare(folder: Path, rounds: int) -> dict[str, list[Update]]:
    """Let every tool update the same project, in turns."""
    home = folder / "home"
    home.mkdir()
    tools = contestants(folder)
    prepared = {
        each.name: prepare(each, folder / f"project-{number}", home)
        for number, each in enumerate(tools)
    }
    for template in {each.template for each in tools}:
        publish(template)
    updates: dict[str, list[Update]] = {each.name: [] for each in tools}
    for number in range(rounds + 1):
        for each in tools if number % 2 else reversed(tools):
            done = update(each, prepared[each.name], home)
            if number:  # the first round fills the file system's caches
                updates[each.name].append(done)
    return updates


def table(updates: Mapping[str, list[Update]]) -> str:
    """Return what became of each edit, and the median seconds, as Markdown."""
    rows = [["tool (exit code)", *EDITS, "seconds"]]
    for name, done in updates.items():
        seconds = statistics.median(each.seconds for each in done)
        rows.append([f"{name} ({done[0].code})", *done[0].fates.values(), f"{seconds:.2f}"])
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


def main() -> int:
    """Compare, print the table, and judge ours."""
    parser = argparse.ArgumentParser(description="Compare what becomes of an owner's edits.")
    parser.add_argument("rounds", nargs="?", type=int, default=7, help="how many updates to time")
    rounds: int = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="migration-") as name:
        updates = compare(Path(name), rounds)
    print(table(updates))
    ours, cruft = updates["this template"], updates["`cruft update`"]
    ratio = statistics.median(
        our.seconds / its.seconds for our, its in zip(ours, cruft, strict=True)
    )
    print(f"\nmedian ratio of ours to cruft: {ratio:.2f} ({rounds} rounds)")
    bad = {edit: fate for done in ours for edit, fate in done.fates.items() if fate not in GOOD}
    for edit, fate in bad.items():
        print(f"ours: {edit}: {fate}")
    return 1 if bad or ratio > 1 or any(done.code for done in ours) else 0


if __name__ == "__main__":
    sys.exit(main())
