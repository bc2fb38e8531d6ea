"""A Dockerfile carried out without an engine: its own steps, in a directory that stands for the root of the image.

Every absolute path that a step names lies in one of the few directories the recipe makes itself, so each is moved below
the stand-in by its text, and a step that names any other is refused. All stages are given the same stand-in, one after
the other, and what a stage leaves is moved aside when it is over: a path means the same in each of them, as it does in
an engine, and a later stage finds nothing but what it copies. The programs of this machine stand in for those of the
base image. Who a step runs as, and who owns what it writes, is not imitated.
"""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_OWN_DIRECTORIES: Final = frozenset({"opt", "src", "data", "etc"})
_ABSOLUTE: Final = re.compile(r"""(?:^|(?<=[\s="':]))/([A-Za-z][\w.-]*)""")
_VARIABLE: Final = re.compile(r"\$\{?(\w+)\}?")
_LONGEST_STEP_SECONDS: Final = 600


class StepFailed(Exception):
    """A RUN ended badly. The text is the step and what it printed."""


@dataclass(frozen=True)
class Instruction:
    """One instruction: its word, and all that follows on the same logical line."""

    word: str
    text: str


@dataclass(frozen=True)
class Stage:
    """One FROM and what follows it."""

    name: str
    image: str
    instructions: list[Instruction] = field(default_factory=list)

    def every(self, word: str) -> list[str]:
        """Return the text of every instruction *word*."""
        return [instruction.text for instruction in self.instructions if instruction.word == word]

    def command(self, word: str) -> list[str]:
        """Return the program and arguments of the instruction *word*, which are JSON."""
        text = self.every(word)[-1]
        return json.loads(text[text.index("[") :])


@dataclass(frozen=True)
class Image:
    """What the last stage left: files below `root`, and the environment its commands are given."""

    root: Path
    environ: Mapping[str, str]
    stage: Stage

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run *command* as it would be run inside."""
        return subprocess.run(
            [shutil.which(command[0], path=self.environ["PATH"]), *command[1:]],
            env=self.environ,
            cwd=_moved(self.stage.every("WORKDIR")[-1], self.root),
            capture_output=True,
            text=True,
            timeout=_LONGEST_STEP_SECONDS,
            check=False,
        )


def read(text: str) -> list[Stage]:
    """Return the stages of a Dockerfile."""
    stages: list[Stage] = []
    for instruction in _instructions(text):
        if instruction.word == "FROM":
            image, _, name = instruction.text.partition(" AS ")
            stages.append(Stage(name or str(len(stages)), image))
        elif stages:
            stages[-1].instructions.append(instruction)
    return stages


def send(project: Path, ignored: str, directory: Path) -> Path:
    """Copy to *directory* what of *project* an engine is sent, given the text of its `.dockerignore`."""
    patterns = [line for line in ignored.splitlines() if line and not line.startswith("#")]
    allowed = [line[1:] for line in patterns if line.startswith("!")]
    everywhere = [line.removeprefix("**/") for line in patterns if line.startswith("**/")]
    if patterns != ["*", *(f"!{name}" for name in allowed), *(f"**/{name}" for name in everywhere)]:
        raise NotImplementedError("a .dockerignore that does anything else than name what is sent")
    directory.mkdir()
    for name in allowed:
        if (project / name).is_dir():
            shutil.copytree(project / name, directory / name, ignore=shutil.ignore_patterns(*everywhere))
        else:
            shutil.copy2(project / name, directory / name)
    return directory


def carry_out(stages: Sequence[Stage], sent: Path, root: Path, environ: Mapping[str, str]) -> Image:
    """Carry out every stage at *root*, copying from the directory *sent*, with *environ* below what the recipe sets.

    Raises:
        StepFailed: a RUN did not end with 0.
    """
    left: dict[str, Path] = {}
    *earlier, last = stages
    for stage in earlier:
        _carry_out(stage, sent, root, environ, left)
        left[stage.name] = root.rename(root.with_name(f"left-by-{stage.name}"))
    return Image(root, _carry_out(last, sent, root, environ, left), last)


def _carry_out(
    stage: Stage, sent: Path, root: Path, environ: Mapping[str, str], left: Mapping[str, Path]
) -> dict[str, str]:
    """Carry out one stage and return the environment it ends with."""
    settings, here = dict(environ), root
    root.mkdir()
    for instruction in stage.instructions:
        match instruction.word:
            case "ENV":
                for setting in shlex.split(instruction.text):
                    name, _, value = setting.partition("=")
                    settings[name] = _VARIABLE.sub(lambda found: settings[found[1]], _moved(value, root))
            case "WORKDIR":
                here = Path(_moved(instruction.text, root))
                here.mkdir(parents=True, exist_ok=True)
            case "COPY":
                _copy(instruction.text, sent, root, here, left)
            case "RUN":
                _run(_moved(instruction.text, root), here, settings)
            case "USER" | "VOLUME" | "EXPOSE" | "STOPSIGNAL" | "HEALTHCHECK" | "ENTRYPOINT" | "CMD":
                pass  # how a container is run, not what is in it
            case unknown:
                raise NotImplementedError(unknown)
    return settings


def _copy(text: str, sent: Path, root: Path, here: Path, left: Mapping[str, Path]) -> None:
    words = text.split()
    options = dict(word[2:].split("=") for word in words if word.startswith("--"))
    *sources, target = [word for word in words if not word.startswith("--")]
    origin = left[options["from"]] if "from" in options else sent
    destination = here / _moved(target, root)
    for source in sources:
        path = origin / source.lstrip("/")
        if path.is_dir():
            shutil.copytree(path, destination, symlinks=True, dirs_exist_ok=True)
        else:
            destination.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, destination)


def _run(command: str, here: Path, environ: Mapping[str, str]) -> None:
    step = subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=here,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_LONGEST_STEP_SECONDS,
        check=False,
    )
    if step.returncode != 0:
        raise StepFailed(f"{command}\nended with {step.returncode}:\n{step.stdout}")


def _moved(text: str, root: Path) -> str:
    """Return *text* with every absolute path in it below *root*."""

    def below(found: re.Match[str]) -> str:
        if found[1] not in _OWN_DIRECTORIES:
            raise ValueError(f"{found[0]} is no directory of the recipe's own: {text}")
        return f"{root}{found[0]}"

    return _ABSOLUTE.sub(below, text)


def _instructions(text: str) -> Iterator[Instruction]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        word, _, rest = line.partition(" ")
        yield Instruction(word, rest.strip())
