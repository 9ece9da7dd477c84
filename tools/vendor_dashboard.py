"""Copies what the dashboard takes from others, so that a wheel has it and no page loads anything from elsewhere.

    python tools/vendor_dashboard.py            copy it
    python tools/vendor_dashboard.py --check    exit 1, naming the files, if what is committed is not that

npm fetches the packages of tools/dashboard/package-lock.json, whose digests it compares; none of their scripts run.
"""

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NPM = ROOT / "tools/dashboard"
VENDOR = ROOT / "gollem/dashboard/vendor"
# In gollem/dashboard/vendor: from where in node_modules.
FILES = {
    "uplot/uPlot.js": "uplot/dist/uPlot.iife.min.js",
    "uplot/uPlot.css": "uplot/dist/uPlot.min.css",
    "uplot/LICENSE.txt": "uplot/LICENSE",
    "inter/inter.woff2": "@fontsource-variable/inter/files/inter-latin-wght-normal.woff2",
    "inter/LICENSE.txt": "@fontsource-variable/inter/LICENSE",
}


def fetched() -> dict[Path, bytes]:
    """Every file by where it belongs."""
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    done = subprocess.run(command, cwd=NPM, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"npm ci failed:\n{done.stderr}")
    return {VENDOR / name: (NPM / "node_modules" / source).read_bytes() for name, source in FILES.items()}


def stale(files: dict[Path, bytes]) -> list[str]:
    """What differs from what is committed, one line a file."""
    kept = {file for file in VENDOR.rglob("*") if file.is_file()}
    lines = [f"{file.relative_to(ROOT)}: not from the lock file" for file in sorted(kept - set(files))]
    for file, content in files.items():
        if not file.exists() or file.read_bytes() != content:
            lines.append(f"{file.relative_to(ROOT)}: {'not current' if file.exists() else 'missing'}")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if anything is not current")
    checking = parser.parse_args().check
    files = fetched()
    if checking:
        lines = stale(files)
        print("\n".join(lines) or f"{len(files)} vendored files are current", file=sys.stderr if lines else sys.stdout)
        return 1 if lines else 0
    for file, content in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    print(f"copied {len(files)} files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
