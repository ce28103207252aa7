"""The git repository of a project: its files, its state, its conflicts."""

from __future__ import annotations

import os
import stat
import tempfile

from blueprint import RENDERED, WORK_FOLDER
from blueprint.bake.arrange import LEFTOVERS
from blueprint.errors import ProjectRefusedError
from blueprint.git import git
from blueprint.regenerate.files import is_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from blueprint.merge.project import Conflict

# No file below these is the owner's to keep.
NOT_OWN = LEFTOVERS | {RENDERED, WORK_FOLDER}

# Files of git's own folder that are there while something is under way.
UNDER_WAY = {
    "MERGE_HEAD": "a merge",
    "CHERRY_PICK_HEAD": "a cherry-pick",
    "REVERT_HEAD": "a revert",
    "rebase-merge": "a rebase",
    "rebase-apply": "a rebase",
    "BISECT_LOG": "a bisection",
}


def split(listed: str) -> list[str]:
    """Return the rows of a list that git separates by zeros."""
    return [row for row in listed.split("\0") if row]


def is_tracked(project: str) -> bool:
    """Return whether the project is in a git repository that has at least one file of it.

    Raises:
        ProjectRefusedError: there is a repository, and git cannot read it.
    """
    try:
        return bool(git(project, "ls-files", "-z", "--", "."))
    except ProjectRefusedError as error:
        if "not a git repository (or any" in str(error):
            return False
        raise


def refuse_unless_committed(project: str) -> None:
    """Refuse a project with changes that are in no commit, or that git does not look at.

    Raises:
        ProjectRefusedError: the message lists what is not committed.
    """
    paths = [part for name in UNDER_WAY for part in ("--git-path", name)]
    for path, name in zip(git(project, "rev-parse", *paths).splitlines(), UNDER_WAY, strict=True):
        if os.path.exists(os.path.join(project, path)):
            raise ProjectRefusedError(
                f"git is in the middle of {UNDER_WAY[name]}, so nothing was changed. End it first."
            )
    # Tags of files that git was told not to look at: S, or a lower-case letter.
    told = split(git(project, "ls-files", "-v", "-z", "--", "."))
    hidden = [row[2:] for row in told if row[0] == "S" or row[0].islower()]
    if hidden:
        raise ProjectRefusedError(
            f"git was told not to look at {', '.join(hidden[:5])}, so nothing was changed.\nLet it "
            "look again: git sparse-checkout disable, or git update-index --no-skip-worktree "
            "--no-assume-unchanged and the files."
        )
    rows = split(git(project, "status", "--porcelain", "-z", "--untracked-files=all", "--", "."))
    if not rows:
        return
    shown = "\n".join(f"  {row}" for row in rows[:10])
    more = f"\n  and {len(rows) - 10} more" if len(rows) > 10 else ""
    raise ProjectRefusedError(
        "The project has changes that are in no commit, so nothing was changed:\n"
        f"{shown}{more}\n"
        "Commit or stash them first: then git shows what regenerating did, and can take it back."
    )


def list_own(project: str) -> list[str]:
    """Return every file of the project that is its owner's to keep, relative to it.

    In a git project what git tracks, elsewhere what `.gitignore` does not list. Neither has what
    runs left behind, such as virtual environments, nor other repositories inside this one.
    """
    if is_tracked(project):
        listed = git(project, "ls-files", "-z", "--", ".")
    else:
        with tempfile.TemporaryDirectory() as folder:
            git(folder, "init", "--quiet", "--bare", ".")
            listed = git(
                project,
                *(f"--git-dir={folder}", f"--work-tree={project}"),
                *("ls-files", "-z", "--others", "--exclude-standard", "--", "."),
            )
    return [
        path
        for path in dict.fromkeys(split(listed))
        if is_file(os.path.join(project, path)) and NOT_OWN.isdisjoint(path.split("/"))
    ]


def list_ignored(project: str) -> list[str]:
    """Return the paths that git ignores, folders with a final slash, without leftovers."""
    asked = ("ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory")
    listed = split(git(project, *asked, "--", ".")) if is_tracked(project) else []
    return [path for path in listed if NOT_OWN.isdisjoint(path.split("/"))]


def undo_command(project: str) -> str:
    """Return the command that takes back everything since the last commit, in the project alone.

    It is empty if the project is in no git repository.
    """
    if not is_tracked(project):
        return ""
    if git(project, "rev-parse", "--show-prefix").strip():
        return "git reset -q -- . && git checkout -- . && git clean -fd -- ."
    return "git reset --hard && git clean -fd"


def mark_unmerged(project: str, conflicts: Iterable[Conflict]) -> None:
    """Mark in git the files that are in conflict, with the three versions of each."""
    conflicts = list(conflicts)
    if not conflicts:
        return
    prefix = git(project, "rev-parse", "--show-prefix").rstrip("\n")
    rows: list[str] = []
    for conflict in conflicts:
        rows.append(f"0 {'0' * 40}\t{prefix}{conflict.path}\0")
        for stage, file in enumerate((conflict.base, conflict.ours, conflict.theirs), start=1):
            if file is not None:
                asked = ("hash-object", "-w", "--no-filters", "--stdin")
                name = git(project, *asked, data=file[1]).strip()
                rows.append(f"{git_mode(file[0])} {name} {stage}\t{prefix}{conflict.path}\0")
    git(project, "update-index", "-z", "--index-info", data=os.fsencode("".join(rows)))


def git_mode(mode: int) -> str:
    """Return git's mode for a file's mode."""
    if stat.S_ISLNK(mode):
        return "120000"
    return "100755" if mode & stat.S_IXUSR else "100644"


def reset_index(project: str, paths: list[str]) -> None:
    """Let git forget that the paths were unmerged: the index is as the last commit has them."""
    if paths:
        git(project, "reset", "--quiet", "--", *paths)
