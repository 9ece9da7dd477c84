#!/usr/bin/env bash
# Puts copies of deploy/backup.sh where an exchange looks for them: deploy/restore.sh COPIES DATA-FOLDER
# Nothing is overwritten, and nothing is put back that is not what was copied.
set -euo pipefail
umask 077
from=${1:?the folder that backup.sh made} data=${2:?the data folder}

(cd "$from" && sha256sum --check --quiet SHA256SUMS)
for name in ledger.db keys.db grant.key; do
  [[ ! -e $data/$name ]] || { echo "restore.sh: $data/$name is there already: nothing is overwritten" >&2; exit 1; }
done
mkdir -p "$data"
# The ledger last: without it nothing serves.
for name in keys.db grant.key; do
  [[ ! -e $from/$name ]] || cp "$from/$name" "$data/"
done
gollem ledger restore --from "$from/ledger.db" --data "$data"
# Put back by root, they are still whose the folder is.
for name in ledger.db keys.db grant.key; do
  [[ ! -e $data/$name ]] || chown --reference="$data" "$data/$name"
done
