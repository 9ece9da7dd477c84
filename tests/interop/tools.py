"""The clients of others, installed as their users would, once, into `.cache/` of the repository."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PROTO = REPOSITORY / "proto"
GRPC_JS = Path(__file__).parent / "grpc_js"

_CACHE = REPOSITORY / ".cache" / "interop"
_GRPCURL_MODULE = "github.com/fullstorydev/grpcurl/cmd/grpcurl"
# The newest that the Go of Debian 12 (1.19) builds; newer Go builds it as well.
_GRPCURL_VERSION = "v1.8.9"
# What `go install` installs.
GRPCURL = f"{_GRPCURL_MODULE}@{_GRPCURL_VERSION}"
# The first build of grpcurl compiles all of grpc-go.
_INSTALL_TIMEOUT_S = 600


class ToolMissing(RuntimeError):
    """A tool that these tests need is not on this machine; the text says which, and what for."""


def grpcurl() -> Path:
    """The program grpcurl, built by `go install` where it is not there yet. Raises ToolMissing."""
    folder = _CACHE / f"grpcurl-{_GRPCURL_VERSION}"
    program = folder / "grpcurl"
    if not program.exists():
        go = _find("go", "to install grpcurl: see https://go.dev/dl")
        _run([go, "install", GRPCURL], _CACHE, {"GOBIN": str(folder)})
    return program


def grpc_js() -> list[str]:
    """The command that runs the grpc-js client, but for its arguments. Run it with `grpc_js_environment()`."""
    node = _find("node", "to run the grpc-js client: see https://nodejs.org")
    folder = _node_folder()
    if not (folder / "node_modules").exists():
        npm = _find("npm", "to install grpc-js: see https://nodejs.org")
        staged = folder.with_suffix(f".{os.getpid()}")
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(GRPC_JS / name, staged)
        _run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], staged, {})
        # Whole or not at all, also when two test runs install at once.
        if not folder.exists():
            staged.rename(folder)
    return [node, str(GRPC_JS / "client.mjs")]


def grpc_js_environment() -> dict[str, str]:
    return {**os.environ, "NODE_PATH": str(_node_folder() / "node_modules"), "GOLLEM_PROTO": str(PROTO)}


def _node_folder() -> Path:
    lock = hashlib.sha256((GRPC_JS / "package-lock.json").read_bytes()).hexdigest()
    return _CACHE / f"grpc-js-{lock[:12]}"


def _find(program: str, purpose: str) -> str:
    found = shutil.which(program)
    if found is None:
        raise ToolMissing(f"{program} is needed {purpose}")
    return found


def _run(command: list[str], folder: Path, environment: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        timeout=_INSTALL_TIMEOUT_S,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ToolMissing(f"`{' '.join(command)}` failed:\n{done.stderr[-2_000:]}")
