"""Builds the compiled heart. Everything else about the package is in pyproject.toml."""

from Cython.Build import cythonize
from setuptools import Extension, setup

extension = Extension(
    "gollem._core",
    ["gollem/_core.pyx"],
    extra_compile_args=["-O3", "-fno-math-errno"],
)
# Money wraps silently in C: overflowcheck raises instead. The scan loop, whose operands are validated at the door,
# switches it off where it is defined.
directives = {"language_level": "3", "overflowcheck": True, "boundscheck": False, "wraparound": False}

setup(ext_modules=cythonize([extension], compiler_directives=directives))
