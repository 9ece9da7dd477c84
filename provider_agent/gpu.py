"""What the machine's GPUs are doing, through NVML; an empty list where there is no GPU, no driver or no pynvml."""

import importlib
import logging
from typing import Any

from gollem_client.stubs import GpuStatus

_log = logging.getLogger(__name__)
_MAX_GPUS = 64


class GpuReader:
    """`nvml` is pynvml, or something like it; None looks for pynvml."""

    def __init__(self, nvml: Any = None) -> None:
        self._nvml = nvml if nvml is not None else _find_nvml()
        self._ready = self._nvml is not None and self._begin()

    def read(self) -> list[GpuStatus]:
        """Blocks for some milliseconds: call it in a thread."""
        if not self._ready:
            return []
        try:
            return [self._gpu(index) for index in range(min(self._nvml.nvmlDeviceGetCount(), _MAX_GPUS))]
        except self._nvml.NVMLError as error:
            _log.warning("NVML does not answer: %s", error)
            return []

    def _begin(self) -> bool:
        try:
            self._nvml.nvmlInit()
        except self._nvml.NVMLError as error:
            _log.info("no GPU figures: %s", error)
            return False
        return True

    def _gpu(self, index: int) -> GpuStatus:
        handle = self._nvml.nvmlDeviceGetHandleByIndex(index)
        name = self._nvml.nvmlDeviceGetName(handle)
        memory = self._nvml.nvmlDeviceGetMemoryInfo(handle)
        return GpuStatus(
            name=name.decode() if isinstance(name, bytes) else name,
            utilisation_percent=self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu,
            memory_used_bytes=memory.used,
            memory_total_bytes=memory.total,
        )


def _find_nvml() -> Any:
    try:
        return importlib.import_module("pynvml")
    except ImportError:
        _log.info("no GPU figures: pynvml (package nvidia-ml-py) is not installed")
        return None
