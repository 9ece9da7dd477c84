"""The Dockerfile read as data: its stages, each a list of steps; and which files its build may see (.dockerignore)."""

import json
import re
import shlex
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath


@dataclass(frozen=True)
class Step:
    """One instruction: its name in capitals, its `--options`, and what follows as one text."""

    name: str
    text: str
    options: dict[str, str] = field(default_factory=dict)

    @property
    def words(self) -> list[str]:
        """Of a JSON list (CMD, ENTRYPOINT), or of words."""
        return list(json.loads(self.text)) if self.text.startswith("[") else shlex.split(self.text)


@dataclass
class Stage:
    """From one FROM to the next."""

    base: str
    name: str
    steps: list[Step] = field(default_factory=list)

    def last(self, name: str) -> Step:
        return [step for step in self.steps if step.name == name][-1]

    def environment(self) -> dict[str, str]:
        pairs = [word.partition("=") for step in self.steps if step.name == "ENV" for word in step.words]
        return {name: value for name, _, value in pairs}


def read(file: Path) -> list[Stage]:
    """The stages in their order."""
    lines = [line for line in file.read_text().splitlines() if not line.lstrip().startswith("#")]
    stages: list[Stage] = []
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        if not line.strip() or line.startswith("ARG "):
            continue
        step = _step(line)
        if step.name == "FROM":
            base, _, name = step.text.partition(" AS ")
            stages.append(Stage(base, name))
        else:
            stages[-1].steps.append(step)
    return stages


def _step(line: str) -> Step:
    name, _, rest = line.strip().partition(" ")
    options = {}
    while found := re.match(r"--([a-z-]+)(?:=(\S+))?\s+", rest := rest.strip()):
        options[found[1]] = found[2] or ""
        rest = rest[found.end() :]
    return Step(name.upper(), rest, options)


def context(root: Path) -> list[PurePosixPath]:
    """The files that COPY may see, relative to the root; of the patterns the last that matches decides."""
    lines = (root / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    skipped = {".git", ".venv", ".cache", "node_modules"}  # not worth walking through: all of them are ignored
    found: list[PurePosixPath] = []
    for top in sorted(root.iterdir()):
        if top.name in skipped:
            assert not _is_seen(PurePosixPath(top.name), rules)
            continue
        for file in [top] if top.is_file() else sorted(top.rglob("*")):
            name = PurePosixPath(file.relative_to(root).as_posix())
            if file.is_file() and _is_seen(name, rules):
                found.append(name)
    return found


def _is_seen(name: PurePosixPath, rules: list[str]) -> bool:
    places = [str(name), *[str(parent) for parent in name.parents if str(parent) != "."]]
    is_seen = True
    for rule in rules:
        pattern = rule.removeprefix("!")
        variants = (pattern, pattern.removeprefix("**/")) if pattern.startswith("**/") else (pattern,)
        if any(fnmatch(place, variant) and (pattern.startswith("**") or _depth(place) == _depth(pattern))
               for place in places for variant in variants):  # fmt: skip
            is_seen = rule.startswith("!")
    return is_seen


def _depth(path: str) -> int:
    return path.count("/")
