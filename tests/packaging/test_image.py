"""The image without an engine: its Dockerfile is linted, and its steps are carried out in a fresh folder."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from reckon import __version__
from tests.packaging import recipe

PROJECT = Path(__file__).resolve().parent.parent.parent
PROGRAMS = Path(sys.executable).parent
STAGES = recipe.read((PROJECT / "Dockerfile").read_text())
BUILD, FINAL = STAGES
# How whoever runs the tests reaches a package index.
WAY_OUT = re.compile(r"(PIP|SSL_CERT)_\w+|\w+_proxy", re.IGNORECASE)


@pytest.fixture
def directory():
    # Not pytest's: a whole environment is not worth keeping, nor worth reading through for what must not be in it.
    with tempfile.TemporaryDirectory(prefix="reckon-image-") as name:
        yield Path(name)


@pytest.fixture
def environ(directory):
    """An environment in which packages can be had."""
    environ = {name: value for name, value in os.environ.items() if WAY_OUT.fullmatch(name)}
    environ |= {"PATH": f"{PROGRAMS}:/usr/local/bin:/usr/bin:/bin", "HOME": str(directory)}
    lock = (PROJECT / "requirements.lock").read_text()
    (directory / "one.lock").write_text(re.search(r"^sniffio==(?:.*\\\n)+.*\n", lock, re.MULTILINE)[0])
    options = ["--retries=0", "--timeout=10", "--no-deps", "--no-cache-dir", "--require-hashes", "--dest=."]
    asked = subprocess.run(
        [sys.executable, "-m", "pip", "download", *options, "--requirement=one.lock"],
        cwd=directory,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if asked.returncode != 0:
        pytest.skip(f"THE IMAGE'S STEPS ARE NOT CARRIED OUT: no package index answers: {asked.stderr[-300:]}")
    return environ


def every_file(root):
    return {path: path.lstat().st_mtime_ns for path in sorted(root.rglob("*"))}


def needed_by(package):
    for line in metadata.requires(package) or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement.name
            yield from needed_by(requirement.name)


def test_the_recipe_is_one_that_its_linter_has_no_word_about():
    hadolint = shutil.which("hadolint", path=str(PROGRAMS))
    said = subprocess.run([hadolint, PROJECT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


def test_the_linter_is_awake():
    hadolint = shutil.which("hadolint", path=str(PROGRAMS))
    wrong = "FROM python:latest\nRUN cd /opt && pip install requests\n"
    said = subprocess.run([hadolint, "-"], input=wrong, capture_output=True, text=True, check=False)
    assert said.returncode == 1
    assert {"DL3003", "DL3007", "DL3013"} <= set(re.findall(r"DL\d+", said.stdout))


def test_a_container_runs_as_a_number_that_is_not_root_s_and_stops_by_the_signal_reckon_heeds():
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", FINAL.every("USER")[-1])
    assert FINAL.every("STOPSIGNAL") == ["SIGTERM"]
    assert FINAL.command("ENTRYPOINT") + FINAL.command("CMD") == ["reckon", "run"]
    assert FINAL.command("HEALTHCHECK") == ["reckon", "health"]


def test_what_lies_in_the_volume_belongs_to_who_the_container_runs_as():
    (volume,) = FINAL.every("VOLUME")
    (copied,) = [text for text in FINAL.every("COPY") if text.endswith(f" {volume}")]
    assert f"--chown={FINAL.every('USER')[-1]} " in copied


def test_an_engine_is_sent_what_the_recipe_copies_and_nothing_else(directory):
    sent = recipe.send(PROJECT, (PROJECT / ".dockerignore").read_text(), directory / "sent")
    copied = {name for text in BUILD.every("COPY") for name in text.split()[:-1]}
    assert {path.name for path in sent.iterdir()} == copied
    assert not list(sent.rglob("__pycache__"))


def test_the_recipe_names_all_that_builds_a_wheel():
    (named,) = [found[1] for text in BUILD.every("RUN") if (found := re.search(r"\^\(([\w|-]+)\)==", text))]
    assert set(named.split("|")) == {"hatchling", *needed_by("hatchling")}


def test_a_step_that_would_touch_the_machine_is_not_carried_out(directory):
    steps = recipe.read(f"FROM scratch\nRUN touch {directory}/written\n")
    with pytest.raises(ValueError, match="is no directory of the recipe's own"):
        recipe.carry_out(steps, directory, directory / "root", {})
    assert not (directory / "written").exists()


def test_a_step_that_fails_is_told_with_what_it_said(directory):
    with pytest.raises(recipe.StepFailed, match="ended with 3:\nno such wheel"):
        recipe.carry_out(
            recipe.read("FROM x\nRUN echo no such wheel \\\n && exit 3"), directory, directory / "root", {}
        )


@pytest.mark.long  # it installs everything, compiles everything, and asks a package index for it
def test_the_steps_make_a_program_that_runs_from_its_bytecode_and_writes_nothing(directory, environ):
    sent = recipe.send(PROJECT, (PROJECT / ".dockerignore").read_text(), directory / "sent")
    image = recipe.carry_out(STAGES, sent, directory / "root", environ)
    shutil.rmtree(sent)
    shutil.rmtree(directory / "left-by-build")
    before = every_file(image.root)

    help_ = image.run("reckon", "--help")
    assert (help_.returncode, help_.stderr) == (0, "")
    assert "owners" in help_.stdout
    assert image.run("reckon", "--version").stdout == f"reckon {__version__}\n"
    demo = image.run("reckon", "demo")
    assert demo.returncode == 0, demo.stderr
    nothing_configured = image.run("reckon", "poll")
    assert nothing_configured.returncode == 78
    assert nothing_configured.stderr.startswith(f"reckon: {image.root}/etc/reckon/config.toml (RECKON_CONFIG)")

    imported = image.run("python", "-v", "-c", "import json, sqlalchemy, reckon.app").stderr
    read_from = re.findall(r"^# code object from '?(.*?)'?$", imported, re.MULTILINE)
    assert len(read_from) > 100
    assert [name for name in read_from if not name.startswith(f"{image.root}/opt/reckon/bytecode/")] == []

    assert every_file(image.root) == before
    assert [path for path in before if not path.is_symlink() and not path.stat().st_mode & 0o004] == []

    configuration = image.root / "etc/reckon/config.toml"
    configuration.parent.mkdir(parents=True)
    configuration.touch()
    shown = image.run("reckon", "config", "show", "--json")
    assert f"sqlite:///{image.root}/data/reckon.db" in shown.stdout
