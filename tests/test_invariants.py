"""The house rules that no linter knows."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from functools import cache
from itertools import chain
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
PACKAGE = PROJECT / "reckon"
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text())

CORE_MAY_IMPORT = {
    *("__future__", "collections", "dataclasses", "datetime", "decimal", "enum", "fnmatch", "fractions", "functools"),
    *("hashlib", "itertools", "math", "re", "statistics", "typing", "unicodedata", "zoneinfo"),
}

WHO_MAY_IMPORT = {
    "aiohttp": ["reckon.sinks.slack"],
    "alembic": ["reckon.store"],
    "apscheduler": ["reckon.ticker"],
    "httpx": ["reckon.sources", "reckon.watch", "reckon.daemon", "reckon.cli.demo"],
    "prometheus_client": ["reckon.web"],
    "psycopg": ["reckon.store"],
    "pydantic": [
        *("reckon.config", "reckon.references", "reckon.sources.openrouter", "reckon.sinks.slack"),
        *("reckon.watch", "reckon.web"),
    ],
    "pydantic_settings": ["reckon.config"],
    "rich": ["reckon.cli"],
    "slack_sdk": ["reckon.sinks.slack"],
    "sqlalchemy": ["reckon.store"],
    "sqlmodel": ["reckon.store"],
    "starlette": ["reckon.fakes", "reckon.web"],
    "structlog": ["reckon.observe", "reckon.jobs", "reckon.daemon", "reckon.ticker"],
    "typer": ["reckon.cli"],
    "uvicorn": ["reckon.web"],
}

ASK_FOR_HELP = """
import json, sys
from reckon.__main__ import main

sys.argv = ["reckon", "--help"]
try:
    code = main()
except SystemExit as end:
    code = end.code
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
sys.exit(code)
"""

SLOW_TO_IMPORT = [
    *("aiohttp", "alembic", "apscheduler", "httpx", "prometheus_client", "pydantic", "slack_sdk", "sqlalchemy"),
    *("sqlmodel", "starlette", "structlog", "uvicorn"),
]

NAMES_THAT_SAY_NOTHING = {"base", "common", "helpers", "manager", "models", "service", "utils"}


def sources():
    return sorted(PACKAGE.rglob("*.py"))


def module_of(file):
    return ".".join(file.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__")


@cache
def imports_of(file):
    nodes = list(ast.walk(ast.parse(file.read_text())))
    named = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    return named + ["." * node.level + (node.module or "") for node in nodes if isinstance(node, ast.ImportFrom)]


def is_within(module, package):
    return f"{module}.".startswith(f"{package}.")


# --- What may import what ------------------------------------------------------------------------------------------


def test_the_core_imports_only_what_computes():
    assert [
        f"{module_of(file)} imports {name}"
        for file in sources()
        if is_within(module_of(file), "reckon.core")
        for name in imports_of(file)
        if name.partition(".")[0] not in CORE_MAY_IMPORT and not is_within(name, "reckon.core")
    ] == []


@pytest.mark.parametrize("library", WHO_MAY_IMPORT)
def test_a_library_is_known_where_it_belongs_and_nowhere_else(library):
    assert [
        module_of(file)
        for file in sources()
        if any(is_within(name, library) for name in imports_of(file))
        and not any(is_within(module_of(file), package) for package in WHO_MAY_IMPORT[library])
    ] == []


def test_help_is_answered_without_importing_what_is_slow():
    answer = subprocess.run(
        [sys.executable, "-c", ASK_FOR_HELP], capture_output=True, text=True, check=False, timeout=60
    )

    assert answer.returncode == 0, answer.stderr
    assert "spend" in answer.stdout
    assert set(json.loads(answer.stderr)) & set(SLOW_TO_IMPORT) == set()


# --- Names and places ----------------------------------------------------------------------------------------------


def test_every_name_says_what_it_holds():
    named = {part for file in sources() for part in file.relative_to(PACKAGE).with_suffix("").parts}

    assert named & NAMES_THAT_SAY_NOTHING == set()


def files_of_the_project():
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    files = [PROJECT / name for name in listed.stdout.split("\0") if name]
    return [file for file in files if file.is_file()]


def test_the_project_speaks_of_no_machine_and_no_registry():
    # In pieces, or this file would be the first to be found.
    unspoken = [
        word.replace("_", "") for word in ("/w_ork/", "sh_ared/", "python_hosted", "pypi_.org/simple", "/r_oot/")
    ]

    assert [
        f"{file.relative_to(PROJECT)} mentions {word}"
        for file in files_of_the_project()
        for word in unspoken
        if word.encode() in file.read_bytes()
    ] == []


# --- The locks -----------------------------------------------------------------------------------------------------


def locked(lock):
    """Return the versions of each package in *lock*; fail unless every line is an entry, and every entry has hashes."""
    entries = {}
    for entry in re.split(r"\n(?=\S)", (PROJECT / lock).read_text().strip()):
        found = re.fullmatch(
            r"([a-z0-9-]+)==([\w.+!]+)(?: ; [^\\]+?)?((?: \\\n    --hash=sha256:[0-9a-f]{64})+)", entry
        )
        assert found, f"{lock}: {entry}"
        entries.setdefault(found[1], set()).add(found[2])
    return entries


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_pins_every_package_by_hash_and_names_no_host(lock):
    assert locked(lock)
    assert "://" not in (PROJECT / lock).read_text()


def test_what_is_tested_is_what_is_shipped():
    shipped, tested = locked("requirements.lock"), locked("requirements-dev.lock")

    assert {name: tested.get(name) for name in shipped} == shipped


def test_what_is_declared_is_locked():
    def names(requirements):
        return {re.match("[A-Za-z0-9-]+", requirement).group().lower() for requirement in requirements}

    assert names(PYPROJECT["project"]["dependencies"]) <= set(locked("requirements.lock"))
    declared = chain(PYPROJECT["dependency-groups"]["dev"], *PYPROJECT["project"]["optional-dependencies"].values())
    assert names(declared) <= set(locked("requirements-dev.lock"))


def test_little_is_shipped():
    assert len(locked("requirements.lock")) <= 55


# --- The tools -----------------------------------------------------------------------------------------------------


def test_every_exception_granted_to_a_place_is_for_a_place_that_exists():
    granted = PYPROJECT["tool"]["ruff"]["lint"]["per-file-ignores"]

    assert [place for place, rules in granted.items() if not rules or not any(PROJECT.glob(place))] == []


def test_every_marker_is_worn():
    files = set((PROJECT / "tests").rglob("test_*.py")) - {PROJECT / "tests" / "test_canary.py"}  # it plays with them
    tests = "".join(file.read_text() for file in files)
    markers = [marker.partition(":")[0] for marker in PYPROJECT["tool"]["pytest"]["ini_options"]["markers"]]

    assert [marker for marker in markers if f"@pytest.mark.{marker}\n" not in tests] == []


def test_every_target_of_the_makefile_is_there():
    makefile = (PROJECT / "Makefile").read_text()
    promised = re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)[1].split()

    assert [target for target in promised if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []
