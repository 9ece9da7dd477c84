"""Builds the compiled heart. Everything else about the package is in pyproject.toml."""

from Cython.Build import cythonize
from setuptools import Extension, setup

extension = Extension(
    "gollem._core",
    ["gollem/_core.pyx"],
    depends=["gollem/_scan.pxi", *[f"gollem/_{name}.h" for name in ("scan", "key", "node", "tree", "check", "front")]],
    extra_compile_args=["-O3", "-fno-math-errno"],
)
# Money wraps silently in C: overflowcheck raises instead. The scan loops are C (gollem/_scan.h), which this does not
# reach: their operands are bounded where they enter.
directives = {"language_level": "3", "overflowcheck": True, "boundscheck": False, "wraparound": False}

setup(ext_modules=cythonize([extension], compiler_directives=directives))
