"""Pictures as SVG, the same bytes for the same figures."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

from benchmarks.scale.sweeps import Picture

_STYLE: Any = {
    "svg.hashsalt": "gollem",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
}


def draw(picture: Picture, folder: Path) -> Path:
    """Returns the file."""
    file = folder / f"{picture.file}.svg"
    with pyplot.rc_context(_STYLE):
        figure, axes = pyplot.subplots(figsize=(6.4, 3.6), layout="constrained")
        for curve in picture.curves:
            axes.plot(curve.x, curve.y, marker="o", markersize=3, label=curve.name)
        if picture.limit:
            axes.axhline(picture.limit[0], linestyle="--", color="black", linewidth=1, label=picture.limit[1])
        if picture.log_x:
            axes.set_xscale("log")
        if picture.log_y:
            axes.set_yscale("log")
        axes.set(title=picture.title, xlabel=picture.x_label, ylabel=picture.y_label)
        axes.legend(frameon=False, fontsize="small")
        figure.savefig(file, metadata={"Date": None})
        pyplot.close(figure)
    return file
