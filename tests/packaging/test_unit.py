"""The unit without a running systemd: what its own tools say of it, and what Reckon makes of what it is handed."""

import json
import os
import re
import shutil
import subprocess
import sys
from configparser import RawConfigParser
from pathlib import Path

import pytest

from reckon import cli
from reckon.config import load, open_secrets
from tests.canary import inference_key

UNIT = Path(__file__).resolve().parent.parent.parent / "systemd" / "reckon.service"
WORST_EXPOSURE = 1.5
FIRST_WITH_CREDENTIALS_IN_SPECIFIERS = 251
# The kernel's own form of MemoryDenyWriteExecute, which a process may ask for itself; a program it starts keeps it.
DENYING_WRITE_EXECUTE = """
import ctypes, os, sys
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) != 0:
    sys.exit("this kernel knows no such denial")
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@pytest.fixture(scope="module")
def service():
    """The settings of the unit's [Service]; of one that stands there more than once, the last."""
    parser = RawConfigParser(strict=False)
    parser.optionxform = str
    parser.read(UNIT)
    return parser["Service"]


@pytest.fixture
def analyze():
    """Run `systemd-analyze` and return how it ended and all that it said."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("THE UNIT IS NOT CHECKED: systemd-analyze is not installed")

    def run(*arguments):
        said = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)
        return said.returncode, said.stdout + said.stderr

    version = int(re.search(r"\d+", run("--version")[1])[0])
    if version < FIRST_WITH_CREDENTIALS_IN_SPECIFIERS:
        pytest.skip(f"THE UNIT IS NOT CHECKED: systemd {version} is older than it needs")
    return run


@pytest.fixture
def installed(tmp_path):
    """Write the unit as it stands, or changed, with a program that is there."""

    def install(change=lambda text: text):
        text = UNIT.read_text()
        assert "/opt/reckon/bin/reckon" in text
        unit = tmp_path / UNIT.name
        unit.write_text(change(text).replace("/opt/reckon/bin/reckon", shutil.which("true")))
        return unit

    return install


def verified(analyze, unit):
    return analyze("verify", "--man=no", "--recursive-errors=no", str(unit))


def exposure(analyze, unit):
    code, said = analyze(
        "security", "--no-pager", "--offline=true", f"--threshold={WORST_EXPOSURE * 10:.0f}", str(unit)
    )
    return code, float(re.search(r"Overall exposure level for \S+: ([\d.]+)", said)[1])


def test_systemd_understands_every_line(analyze, installed):
    assert verified(analyze, installed()) == (0, "")


def test_a_line_that_systemd_does_not_know_would_be_seen(analyze, installed):
    unit = installed(lambda text: text.replace("WatchdogSec", "WatchdogSecs"))
    assert "'WatchdogSecs'" in verified(analyze, unit)[1]


def test_the_service_is_exposed_to_little(analyze, installed):
    code, score = exposure(analyze, installed())
    assert code == 0
    assert score <= WORST_EXPOSURE


def test_a_service_that_is_exposed_to_more_would_be_seen(analyze, installed):
    code, score = exposure(analyze, installed(lambda text: re.sub("(?m)^(SystemCallFilter|Protect).*", "", text)))
    assert code != 0
    assert score > WORST_EXPOSURE


def test_what_no_restart_can_mend_is_not_restarted(service):
    assert set(service["RestartPreventExitStatus"].split()) == {str(cli.EXIT_USAGE), str(cli.EXIT_CONFIG)}


@pytest.mark.parametrize(
    "mode",
    [
        pytest.param(0o400, id="the service's own"),
        pytest.param(
            0o440,
            id="root's, with an access list",
            marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file of root's"),
        ),
    ],
)
def test_the_configuration_and_a_key_are_read_as_systemd_hands_them_over(service, secret_file, mode):
    literal, kept = inference_key(1), inference_key(2)
    keys = f'[{{ name = "here", key = "{literal}" }}, {{ name = "laptop", key = "credential:dana-laptop" }}]'
    file = secret_file("handed-over/config.toml", f"[owners.dana]\nkeys = {keys}\n", mode)
    secret_file("handed-over/dana-laptop", f"{kept}\n", mode)

    name, _, value = service["Environment"].partition("=")
    environ = {
        name: value.replace("%d", str(file.parent)),
        "CREDENTIALS_DIRECTORY": str(file.parent),
        "STATE_DIRECTORY": f"/var/lib/{service['StateDirectory']}",
    }
    settings = load(None, environ, Path("/"))

    assert service["LoadCredential"].partition(":")[0] == file.name
    assert settings.store.url.get_secret_value() == "sqlite:////var/lib/reckon/reckon.db"
    assert [key.secret.get_secret_value() for key in open_secrets(settings, environ).keys] == [literal, kept]


def python_denied_write_execute(program):
    return subprocess.run(
        [sys.executable, "-c", DENYING_WRITE_EXECUTE, "-c", program],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_nothing_that_reckon_imports_needs_memory_both_written_and_executed(service):
    assert service["MemoryDenyWriteExecute"] == "yes"
    denied = python_denied_write_execute(
        "import mmap; mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)"
    )
    if "this kernel knows no such denial" in denied.stderr:
        pytest.skip("NOT CHECKED: this kernel cannot deny memory that is both written and executed")
    assert "PermissionError" in denied.stderr

    everything = """
import importlib, json, pkgutil, sys, reckon
modules = [module.name for module in pkgutil.walk_packages(reckon.__path__, "reckon.")]
for name in modules:
    if not name.endswith("__main__") and ".migrations." not in name:
        importlib.import_module(name)
import aiohttp, apscheduler.schedulers.asyncio, prometheus_client, psycopg, slack_sdk.web.async_client, uvicorn
print(json.dumps(sorted(sys.modules)))
"""
    imported = python_denied_write_execute(everything)
    assert imported.returncode == 0, imported.stderr
    assert {"ctypes", "psycopg_binary", "sqlite3", "reckon.store.store"} <= set(json.loads(imported.stdout))
