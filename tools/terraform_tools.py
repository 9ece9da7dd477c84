"""Builds what checks deploy/terraform where no registry of providers can be reached: OpenTofu, and the AWS provider
with the few services that are used, both from their Go modules. Needs Go, 4 GB and a quarter of an hour, once.

The provider is the real one: its schemas and its own checks of arguments. Services that are not in `SERVICES` are left
out of its lists, which saves most of the time and memory.

    python tools/terraform_tools.py FOLDER      prints the command that runs `tofu` with it
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

TOFU = "github.com/opentofu/opentofu@v1.10.10"
# Its versions have no tags that Go's proxy knows: this commit is 6.47.1's.
PROVIDER = "github.com/hashicorp/terraform-provider-aws@v1.60.1-0.20260602190131-5f2286d6d836"
SERVICES = {
    "acm", "appautoscaling", "cloudwatch", "dynamodb", "ec2", "ecs", "elbv2", "iam", "kms", "logs", "memorydb", "meta",
    "secretsmanager", "sns", "sts",
}  # fmt: skip
_OURS = "github.com/hashicorp/terraform-provider-aws/"
_LISTS = "internal/provider/sdkv2/service_packages_gen.go"
_CLIENTS = "internal/conns/awsclient_gen.go"


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tofu = _once(folder, TOFU, "tofu", "./cmd/tofu")
    _once(folder, PROVIDER, "terraform-provider-aws", ".", _prune)
    settings = folder / "tofu.rc"
    overrides = f'  dev_overrides {{\n    "hashicorp/aws" = "{folder}"\n  }}\n'
    settings.write_text(f"provider_installation {{\n{overrides}}}\n")
    print(f"env TF_CLI_CONFIG_FILE={settings} {tofu}")


def _once(folder: Path, module: str, name: str, package: str, change=None) -> Path:  # type: ignore[no-untyped-def]
    """The program, built unless this version of it is there already."""
    program, stamp = folder / name, folder / f"{name}.version"
    if not program.exists() or not stamp.exists() or stamp.read_text() != module:
        source = folder / "source"
        shutil.rmtree(source, ignore_errors=True)
        shutil.copytree(_downloaded(folder, module), source)
        subprocess.run(["chmod", "-R", "u+w", source], check=True)
        if change:
            change(source)
        _go(source, "build", "-p", "2", "-o", str(program), package)
        shutil.rmtree(source)
        stamp.write_text(module)
    return program


def _downloaded(folder: Path, module: str) -> Path:
    return Path(json.loads(_go(folder, "mod", "download", "-json", module))["Dir"])


def _prune(source: Path) -> None:
    """Leave only `SERVICES`, and the clients that these, or what they import, ask for."""
    lists = source / _LISTS
    text = re.sub(
        rf'\t"{_OURS}internal/service/(\w+)"\n', lambda m: m[0] if m[1] in SERVICES else "", lists.read_text()
    )
    lists.write_text(re.sub(r"\t\t(\w+)\.ServicePackage\(ctx\),\n", lambda m: m[0] if m[1] in SERVICES else "", text))
    used = _clients_used(source)
    head, *functions = re.split(r"(?m)^(?=func )", (source / _CLIENTS).read_text())
    kept = "".join(function for function in functions if _name(function) in used)
    imports = re.sub(
        r'\t(?:(\w+) )?"github.com/aws/aws-sdk-go-v2/service/(\w+)"\n',
        lambda m: m[0] if re.search(rf"\b{m[1] or m[2]}\.", kept) else "",
        head,
    )
    (source / _CLIENTS).write_text(imports + kept)


def _clients_used(source: Path) -> set[str]:
    """Names of the methods that give a service's client, in every package that is still imported."""
    packages = _go(source, "list", "-e", "-deps", ".").split()
    folders = [source / name.removeprefix(_OURS) for name in packages if name.startswith(_OURS)]
    files = [file for folder in folders for file in folder.glob("*.go") if file != source / _CLIENTS]
    return {name for file in files for name in re.findall(r"\.(\w+Client)\(", file.read_text())}


def _name(function: str) -> str:
    found = re.match(r"func \(c \*AWSClient\) (\w+)", function)
    return found[1] if found else ""


def _go(folder: Path, *words: str) -> str:
    environment = os.environ | {"GOFLAGS": "-buildvcs=false"}
    return subprocess.run(
        ["go", *words], cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
