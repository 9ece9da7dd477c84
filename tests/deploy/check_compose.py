"""compose.yaml by the schema of the Compose specification, which comes from its own Go module: `make deploy-check`."""

import json
import os
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml

FILE = Path(__file__).parents[2] / "deploy/compose/compose.yaml"
MODULE = "github.com/compose-spec/compose-go/v2@v2.4.9"


def schema(folder: Path) -> dict[str, object]:
    command = ["go", "mod", "download", "-json", MODULE]
    environment = os.environ | {"GOFLAGS": "-mod=mod"}
    told = subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True, timeout=300)
    read: dict[str, object] = json.loads(
        (Path(json.loads(told.stdout)["Dir"]) / "schema/compose-spec.json").read_text()
    )
    return read


def test_it_is_as_the_specification_has_it(tmp_path: Path) -> None:
    rules, written = jsonschema.Draft7Validator(schema(tmp_path)), yaml.safe_load(FILE.read_text())
    rules.validate(written)
    written["services"]["redis"]["read_onyl"] = True  # what it does not know, it refuses
    with pytest.raises(jsonschema.ValidationError, match="read_onyl"):
        rules.validate(written)
