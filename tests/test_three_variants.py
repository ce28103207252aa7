"""The engine on a toy of three variants: file sets, followed names, programs that still run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.baking import ROOT, TREE, Entry, User, record_of, snapshot, source, three_variants, tool

SHARED = {
    ".blueprint.json",
    "Dockerfile",
    "README.md",
    "dev/logo.bin",
    "dev/run.sh",
    "dev/windows.py",
    "docs/guide.md",
    "pyproject.toml",
    "src/app/__init__.py",
    "src/app/bootstrap.py",
    "src/app/handlers.py",
    "src/app/main.py",
    "src/app/settings.py",
    "tests/test_retellai.py",
}
OWN = {
    "monolith": {
        "src/app/retellai/__init__.py",
        "src/app/retellai/client.py",
        "src/app/retellai/middleware.py",
        "src/app/retellai/types.py",
        "src/app/routes/__init__.py",
        "src/app/routes/retellai.py",
    },
    "service-layer": {
        "src/app/middleware/retell.py",
        "src/app/queue/__init__.py",
        "src/app/queue/processor.py",
        "src/app/routes/__init__.py",
        "src/app/routes/retellai.py",
        "src/app/services/__init__.py",
        "src/app/services/retell_service.py",
        "src/app/services/retellai/__init__.py",
        "src/app/services/retellai/client.py",
        "src/app/services/retellai/types.py",
    },
    "microservice": {
        "k8s/deployment.yaml",
        "other-services/order-service/pyproject.toml",
        "other-services/order-service/src/app/retellai/client.py",
        "src/app/api/rest/__init__.py",
        "src/app/api/rest/retellai.py",
        "src/app/domain/__init__.py",
        "src/app/domain/entities.py",
        "src/app/domain/services/__init__.py",
        "src/app/domain/services/retell_service.py",
        "src/app/infrastructure/queue/__init__.py",
        "src/app/infrastructure/queue/processor.py",
        "src/app/infrastructure/retellai/__init__.py",
        "src/app/infrastructure/retellai/client.py",
        "src/app/infrastructure/retellai/middleware.py",
        "src/app/retellai/types.py",
    },
}
VARIANTS = tuple(OWN)


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> str:
    """The name of each variant of the toy."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def project(variant: str, toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy, baked as `variant`. Not to be written to."""
    folder = tmp_path_factory.mktemp(variant)
    (folder / "home").mkdir()
    (folder / "out").mkdir()
    return User(folder / "home", folder / "out").bake(toy, variant=variant)


def test_the_files_are_exactly_the_variants(project: Path, variant: str):
    entries = snapshot(project)
    found = {path for path, entry in entries.items() if entry.content is not None}
    assert found == SHARED | OWN[variant]
    folders = {str(parent) for path in found for parent in Path(path).parents} - {"."}
    assert set(entries) - found == folders


def test_a_baked_toy_runs_and_passes_its_tests(project: Path):
    done = subprocess.run(
        (sys.executable, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"),
        cwd=project,
        env={"PYTHONPATH": "src", "PATH": "", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_a_baked_toy_is_formatted_and_its_imports_are_sorted(project: Path):
    for command in (("check", "--select", "E,F,I"), ("format", "--check")):
        done = subprocess.run(
            (tool("ruff"), *command, "--no-cache", "."),
            cwd=project,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_names_are_followed_everywhere_but_in_words_binaries_and_other_projects(
    user: User, toy: Path
):
    project = user.bake(toy, variant="microservice")

    def text(path: str) -> str:
        return (project / path).read_text(encoding="utf-8")

    assert 'call = "app.infrastructure.retellai.client:main"' in text("pyproject.toml")
    assert '["src/app/retellai/types.py", "src/app/retellai_extra/*"]' in text("pyproject.toml")
    assert text("Dockerfile") == (
        "FROM scratch\n"
        "COPY src/app/infrastructure/retellai/ ./src/app/infrastructure/retellai/\n"
        "COPY src/app/retellai_extra/ /x/\n"
        'CMD ["python", "-m", "app.infrastructure.retellai.client"]\n'
    )
    assert text("k8s/deployment.yaml") == (
        "image: toy\ncommand: app.infrastructure.queue.processor:work\n"
        "other: app.queue_size myapp.queue.processor\n"
    )
    assert text("dev/run.sh").endswith("python -m app.infrastructure.retellai.client\n")
    assert (project / "dev/windows.py").read_bytes() == (
        b"# Windows\r\n# app.infrastructure.retellai.client and "
        b"src/app/infrastructure/retellai/client.py\r\nX = 1\r\n"
    )
    assert "`src/app/retellai/client.py` and `app.retellai.client`; this line" in text("README.md")
    for untouched in ("dev/logo.bin", "other-services/order-service/src/app/retellai/client.py"):
        original = source(toy, untouched, "microservice")
        assert (project / untouched).read_bytes() == original.read_bytes()


def test_modes_are_kept(project: Path, toy: Path):
    assert snapshot(project)["dev/run.sh"].mode == 0o755
    original = source(toy, "dev/windows.py")
    assert (project / "dev/windows.py").stat().st_mode == original.stat().st_mode


def test_the_record_holds_every_answer_but_the_variant(project: Path, variant: str):
    assert record_of(project) == {
        "cookiecutter": {
            "project_name": "Toy App",
            "project_slug": "toy-app",
            "description": "A toy of three variants.",
        },
        "variant": variant,
        "template": "gh:org/retell-blueprints",
        "commit": None,
    }


def test_two_files_can_swap_their_places(user: User, tmp_path: Path):
    template = three_variants(tmp_path / "swapping")
    manifest = template / "variants" / "monolith.yaml"
    rows = "place:\n  docs/guide.md: dev/run.sh\n  dev/run.sh: docs/guide.md\n"
    manifest.write_text(manifest.read_text().replace("place: {}\n", rows, 1))
    project = user.bake(template, variant="monolith")
    base = template / TREE / "base"
    assert (project / "dev/run.sh").read_bytes() == (base / "docs/guide.md").read_bytes()
    assert (project / "docs/guide.md").read_bytes() == (base / "dev/run.sh").read_bytes()


def test_leftovers_of_a_working_tree_are_not_baked(
    user: User, project: Path, variant: str, tmp_path: Path
):
    template = three_variants(tmp_path / "used")
    for path in (
        "base/src/app/retellai/__pycache__/client.cpython-311.pyc",
        "base/dev/.pytest_cache/x",
        "base/.venv/a/b.py",
        ".venv/a/b.py",
    ):
        (template / TREE / path).parent.mkdir(parents=True, exist_ok=True)
        (template / TREE / path).write_bytes(b"\x80 left over")
    assert snapshot(user.bake(template, variant=variant)) == snapshot(project)


def test_nothing_is_written_into_the_template(user: User, tmp_path: Path):
    template = three_variants(tmp_path / "clean")
    before = snapshot(template)
    user.bake(template, variant="service-layer")
    assert snapshot(template) == before


def test_a_row_that_matches_nothing_stops_the_bake_and_leaves_nothing(user: User, tmp_path: Path):
    template = three_variants(tmp_path / "stale")
    manifest = template / "variants" / "monolith.yaml"
    manifest.write_text(manifest.read_text().replace("place: {}", "place:\n  gone/: new/"))
    done = user.cookiecutter(template, "--no-input")
    assert done.returncode == 1
    assert "variants/monolith.yaml, line 20: the place row 'gone/' matches no file" in done.stderr
    assert snapshot(user.out) == {}


def test_an_empty_folder_may_be_baked_into(user: User, toy: Path, project: Path, variant: str):
    (user.out / "toy-app").mkdir()
    done = user.cookiecutter(toy, "--no-input", "-f", f"variant={variant}")
    assert done.returncode == 0, done.stderr
    baked: dict[str, Entry] = snapshot(user.out / "toy-app")
    assert baked == snapshot(project)


def test_the_toy_has_the_files_that_these_tests_are_about():
    toy = ROOT / "tests/fixtures/three-variants"
    assert source(toy, "dev/run.sh").stat().st_mode & 0o111
