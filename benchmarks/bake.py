"""Time a whole bake against plain cookiecutter: ``uv run python benchmarks/bake.py [pairs]``.

Plain means a template of the same surviving sources and the same questions, without hooks, which
copies file by file whatever needs no rendering. Both run as whole processes, pair by pair in
alternating order, so that a busy machine slows both. Printed: the median time of each and the
median of the pairs' ratios.
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

ROOT = Path(__file__).resolve().parent.parent
TREE = "{{cookiecutter.project_slug}}/unpruned"
# What a plain template copies, file by file: cookiecutter empties a folder before it copies it
# whole, so only a template that renders where nobody has files can spare the time.
COPIED = ["*.example", "*.json", "*.py", "*.typed", "*.yaml", "*.yml", "*Dockerfile"]
COPIED += ["*.dockerignore", "*.gitignore", "*/docs/*.md"]
sys.path.insert(0, str(ROOT / "hooks"))

from blueprint.bake import manifest  # noqa: E402
from blueprint.bake.arrange import list_files  # noqa: E402
from blueprint.bake.layout import Layout  # noqa: E402

VARIANT = "monolith"


def main() -> int:
    """Time the pairs and print the ratio."""
    parser = argparse.ArgumentParser(description="Time a bake against plain cookiecutter.")
    parser.add_argument("pairs", nargs="?", type=int, default=21, help="how many pairs to time")
    pairs: int = parser.parse_args().pairs
    with tempfile.TemporaryDirectory(prefix="bake-") as name:
        folder = Path(name)
        config = write_config(folder)
        templates = {"ours": ROOT, "plain": make_plain_template(folder / "plain")}
        for template in templates.values():  # fill the file system's caches
            seconds(template, folder, config)
        times: dict[str, list[float]] = {"ours": [], "plain": []}
        for number in range(pairs):
            order = ("ours", "plain") if number % 2 else ("plain", "ours")
            for which in order:
                times[which].append(seconds(templates[which], folder, config))
    ratios = [ours / plain for ours, plain in zip(times["ours"], times["plain"], strict=True)]
    for which, taken in times.items():
        print(f"{which:>5}: {statistics.median(taken):.3f} s (median of {pairs})")
    print(f"median ratio: {statistics.median(ratios):.3f}")
    return 0


def write_config(folder: Path) -> Path:
    """Write a configuration that keeps cookiecutter out of the home folder."""
    config = folder / "config.json"
    paths = {"cookiecutters_dir": f"{folder}/cloned", "replay_dir": f"{folder}/replay"}
    config.write_text(json.dumps(paths), encoding="utf-8")
    return config


def make_plain_template(folder: Path) -> Path:
    """Make a template without hooks from the sources that the variant keeps."""
    plan = Layout(manifest.load(str(ROOT), VARIANT)).plan(list_files(str(ROOT / TREE)))
    for source, home in plan.items():
        target = folder / TREE / home
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / TREE / source, target)
    questions = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
    questions["_copy_without_render"] = COPIED
    (folder / "cookiecutter.json").write_text(json.dumps(questions), encoding="utf-8")
    return folder


def seconds(template: Path, folder: Path, config: Path) -> float:
    """Bake once, from the start of the process to its end, and return how long it took."""
    output = Path(tempfile.mkdtemp(dir=folder))
    command = (sys.executable, "-m", "cookiecutter", str(template), "--no-input")
    start = time.perf_counter()
    subprocess.run(
        (*command, "--config-file", str(config), "-o", str(output)),
        check=True,
        stdout=subprocess.DEVNULL,
    )
    taken = time.perf_counter() - start
    shutil.rmtree(output)
    return taken


if __name__ == "__main__":
    sys.exit(main())
