#!/usr/bin/env bash
# Copies what an exchange with a ledger on SQLite cannot lose, while it runs: deploy/backup.sh DATA-FOLDER NEW-FOLDER
# The ledger's copy is proven before it is kept. `gollem` is taken from the PATH.
set -euo pipefail
umask 077
data=${1:?the data folder} to=${2:?a new folder for the copies}
python=$(dirname "$(command -v gollem)")/python

mkdir -p "$(dirname "$to")"
mkdir "$to.unfinished"
trap 'rm -rf "$to.unfinished"' EXIT
# The keys first: whose key is made in between has no money in the copy that only it could spend.
"$python" - "$data/keys.db" "$to.unfinished/keys.db" <<'PY'
import sqlite3, sys
from contextlib import closing
with closing(sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)) as source, closing(sqlite3.connect(sys.argv[2])) as copy:
    source.backup(copy)
PY
[[ ! -e $data/grant.key ]] || cp "$data/grant.key" "$to.unfinished/"
gollem ledger backup --data "$data" --to "$to.unfinished/ledger.db"
(cd "$to.unfinished" && sha256sum -- * > SHA256SUMS)
[[ ! -e $to ]] || { echo "backup.sh: $to is there already" >&2; exit 1; }
mv "$to.unfinished" "$to"
echo "$to: ledger, API keys and signing key"
