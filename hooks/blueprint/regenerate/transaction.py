"""Changes of many files of a project: all of them are made, or, whatever happens, none.

Everything is prepared in one folder of the project, the work folder. A journal in it names each
change before the first is made; the changes are renames::

    journal.json        the changes are under way: the next run takes all of them back
    done.json           all of them are made: the next run removes what is left over
    neither             nothing was changed yet: the next run removes the work folder
"""

from __future__ import annotations

import json
import os
import shutil

from blueprint import WORK_FOLDER
from blueprint.errors import ProjectRefusedError
from blueprint.regenerate.files import above, digest, read, remove_if_empty, writable, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from blueprint.merge.files import File

JOURNAL = "journal.json"
DONE = "done.json"
# The process that the run belongs to.
RUNNER = "pid"


class Transaction:
    """The work folder of one run in the project at `project`."""

    def __init__(self, project: str) -> None:
        self.project = project
        self.folder = os.path.join(project, WORK_FOLDER)

    @property
    def is_open(self) -> bool:
        """Return whether a run is under way, or ended before its time."""
        return os.path.isdir(self.folder)

    def open(self) -> None:
        """Make the work folder, invisible to git.

        Raises:
            ProjectRefusedError: another run has just made it, or nobody may write there.
        """
        try:
            os.mkdir(self.folder)
        except FileExistsError:
            raise ProjectRefusedError(
                f"Another run is regenerating {self.project}. Wait for it, then run this again."
            ) from None
        except OSError as error:
            raise ProjectRefusedError(
                f"{self.project} cannot be written to, so nothing was changed: {error.strerror}. "
                "Is it read-only? chmod u+w it."
            ) from error
        # The hooks come and go; cookiecutter, which runs them, is there from the first to the last.
        with open(self.path(RUNNER), "w", encoding="ascii") as file:
            file.write(str(os.getppid()))
        with open(os.path.join(self.folder, ".gitignore"), "w", encoding="ascii") as file:
            file.write("*\n")

    def path(self, *names: str) -> str:
        """Return a path in the work folder."""
        return os.path.join(self.folder, *names)

    def refuse_if_alive(self) -> None:
        """Refuse to disturb another run that is still under way.

        Raises:
            ProjectRefusedError: it is, or another process has its number now.
        """
        try:
            with open(self.path(RUNNER), encoding="ascii") as file:
                runner = int(file.read())
            os.kill(runner, 0)
        except (OSError, ValueError, OverflowError):
            return
        if runner != os.getppid():
            raise ProjectRefusedError(
                f"Another run, process {runner}, is regenerating {self.project}. Wait for it. If "
                f"that process is something else, delete {self.path(RUNNER)}, then run this again."
            )

    def recover(self, reset_index: Callable[[list[str]], None]) -> bool:
        """End a run that was cut short, or take it back; return whether it was taken back.

        `reset_index` makes git forget that the given paths were unmerged.
        """
        journal = self._read(JOURNAL)
        if journal is not None:
            self._take_back(journal)
            reset_index(journal["unmerged"])
        done = self._read(DONE)
        if done is not None:
            self._tidy(done)
        if self.is_open:
            shutil.rmtree(self.folder)
        return journal is not None

    def apply(
        self,
        changes: Mapping[str, File | None],
        unmerged: Iterable[str],
        mark_unmerged: Callable[[], None],
    ) -> None:
        """Make the changes, all or none, and remove the work folder.

        `mark_unmerged`, called when every file is in place, tells git of the `unmerged` paths.

        Raises:
            ProjectRefusedError: something stands in the way of a change. Nothing was changed.
            OSError: nothing could be written. Nothing was changed.
        """
        refuse_obstacles(self.project, changes)
        os.mkdir(self.path("new"))
        os.mkdir(self.path("old"))
        rows: list[dict[str, Any]] = []
        for number, (path, file) in enumerate(sorted(changes.items())):
            if file is not None:
                write(self.path("new", str(number)), file)
            had = os.path.lexists(os.path.join(self.project, path))
            rows.append({"path": path, "had": had, "has": file is not None, "is": digest(file)})
        journal = {"rows": rows, "unmerged": list(unmerged), "folders": self._new_folders(changes)}
        self._write(JOURNAL, journal)
        try:
            for number, row in enumerate(rows):
                target = os.path.join(self.project, row["path"])
                if row["had"]:
                    os.rename(target, self.path("old", str(number)))
                if row["has"]:
                    os.makedirs(os.path.dirname(target), exist_ok=True)
                    os.rename(self.path("new", str(number)), target)
            mark_unmerged()
        except BaseException:
            self._take_back(journal)
            raise
        os.replace(self.path(JOURNAL), self.path(DONE))
        self._tidy(journal)
        shutil.rmtree(self.folder)

    def _take_back(self, journal: Mapping[str, Any]) -> None:
        for number, row in enumerate(journal["rows"]):
            target = os.path.join(self.project, row["path"])
            old = self.path("old", str(number))
            there = os.path.lexists(target)
            # Whoever changed the file since that run keeps it, and has the old one beside it.
            ours = not there or (not os.path.isdir(target) and digest(read(target)) == row["is"])
            if os.path.lexists(old):
                os.replace(old, target if ours else f"{target}.before-regenerating")
            elif not row["had"] and ours and there:
                os.remove(target)
        for folder in journal["folders"]:
            remove_if_empty(os.path.join(self.project, folder))
        # Only now, with everything back, the journal may go.
        os.remove(self.path(JOURNAL))

    def _tidy(self, done: Mapping[str, Any]) -> None:
        """Remove the folders whose last file is gone."""
        for row in done["rows"]:
            folder = os.path.dirname(row["path"])
            while not row["has"] and folder and remove_if_empty(f"{self.project}/{folder}"):
                folder = os.path.dirname(folder)

    def _new_folders(self, changes: Mapping[str, File | None]) -> list[str]:
        """Return the folders that the changes need and that are not there, the deepest first."""
        needed = {
            folder for path, file in changes.items() if file is not None for folder in above(path)
        }
        missing = [name for name in needed if not os.path.isdir(f"{self.project}/{name}")]
        return sorted(missing, key=len, reverse=True)

    def _read(self, name: str) -> Any:
        try:
            with open(self.path(name), encoding="utf-8") as file:
                return json.load(file)
        except FileNotFoundError:
            return None

    def _write(self, name: str, content: object) -> None:
        with open(self.path(f"{name}.new"), "w", encoding="utf-8") as file:
            json.dump(content, file)
        os.replace(self.path(f"{name}.new"), self.path(name))


def refuse_obstacles(project: str, changes: Mapping[str, File | None]) -> None:
    """Refuse changes that the files of the project are in the way of.

    Raises:
        ProjectRefusedError: a folder where a file must be or the reverse, a symbolic link where a
            folder must be, or something that its owner made read-only. All are in the message.
    """
    problems: set[str] = set()
    for path in changes:
        for folder in above(path):
            full = os.path.join(project, folder)
            if os.path.islink(full):
                problems.add(f"{folder} is a symbolic link; what it leads to is not ours to change")
            elif os.path.lexists(full) and not os.path.isdir(full):
                problems.add(f"{folder} is a file where {path} needs a folder: rename it")
            elif os.path.isdir(full) and not writable(full):
                problems.add(f"{folder} is read-only: chmod u+w it")
        full = os.path.join(project, path)
        if os.path.islink(full):
            continue
        if os.path.isdir(full):
            problems.add(f"{path} is a folder where a file is needed: rename it")
        elif os.path.exists(full) and not writable(full):
            problems.add(f"{path} is read-only: chmod u+w it")
    if not writable(project):
        problems.add("the project's folder is read-only: chmod u+w it")
    if problems:
        lines = "\n".join(f"  {problem}" for problem in sorted(problems))
        raise ProjectRefusedError(f"Nothing was changed, because of this:\n{lines}")
