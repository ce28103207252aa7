"""Bake a project from this template and run one call through it: ``uv run demo.py [variant]``.

The project is baked in a temporary folder, run against its own Retell simulator by its own
``python -m dev demo``, and removed. The exit code is the demo's: 0 when the call was analysed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent

# These would send the baked project's `uv run` to this repository's own environment.
FOREIGN_VARIABLES = ("VIRTUAL_ENV", "UV_PROJECT", "UV_PROJECT_ENVIRONMENT")


def variants() -> list[str]:
    """Return the names of the variants that exist, in alphabetical order."""
    return sorted(path.stem for path in (ROOT / "variants").glob("*.yaml"))


def find_uv() -> str:
    """Return the path of uv, of this environment first.

    Raises:
        SystemExit: uv is nowhere on the path.
    """
    own = os.fspath(Path(sys.executable).parent)
    path = os.pathsep.join((own, os.environ.get("PATH", os.defpath)))
    uv = shutil.which("uv", path=path)
    if uv is None:
        sys.exit("demo.py needs uv: run it by `.venv/bin/uv run demo.py`")
    return uv


def bake(variant: str, folder: Path) -> Path:
    """Bake `variant` with the default answers below `folder` and return the project's path.

    Raises:
        SystemExit: the bake failed; what it printed is passed on.
    """
    # A configuration of its own: neither the user's defaults nor a trace in the home folder.
    config = folder / "config.yaml"
    places = {"cookiecutters_dir": folder / "templates", "replay_dir": folder / "replay"}
    config.write_text(json.dumps(places, default=os.fspath), encoding="utf-8")
    baked = folder / "baked"
    baked.mkdir()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "cookiecutter", ROOT, f"variant={variant}"),
            *("--no-input", "--output-dir", baked, "--config-file", config),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    # The hints for a new owner are for a folder that stays; this one goes.
    if done.returncode != 0:
        sys.exit(f"{done.stdout}{done.stderr}")
    (project,) = baked.iterdir()
    return project


def run_demo(project: Path) -> int:
    """Run the project's own demo in its own environment and return its exit code."""
    environment = {
        name: value for name, value in os.environ.items() if name not in FOREIGN_VARIABLES
    }
    command = [find_uv(), "run", "python", "-m", "dev", "demo"]
    return subprocess.run(command, cwd=project, env=environment, check=False).returncode


def main() -> int:
    """Bake, run, clean up; return the demo's exit code."""
    parser = argparse.ArgumentParser(description="Bake a variant and run one call through it.")
    parser.add_argument("variant", nargs="?", default="monolith", choices=variants())
    variant: str = parser.parse_args().variant
    with tempfile.TemporaryDirectory(prefix="retell-blueprints-") as folder:
        project = bake(variant, Path(folder))
        print(f"Baked the {variant}. In its folder: uv run python -m dev demo", flush=True)
        return run_demo(project)


if __name__ == "__main__":
    sys.exit(main())
