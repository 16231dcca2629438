#!/bin/sh
# Makes the journals in this folder with the code that wrote such ones, from this repository's history:
#   tests/data/journals/make.sh
# Each is what a daemon left that read prices.csv to its end under core.toml, and (but for the first, whose code kept
# none) a snapshot of its state by the fold of its time.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(git -C "$here" rev-parse --show-toplevel)
code=$(mktemp -d)
trap 'rm -rf "$code"' EXIT

make_one() { # NAME COMMIT SNAPSHOT
	rm -rf "${code:?}/mrdaemon" "${here:?}/$1"
	git -C "$root" archive "$2" mrdaemon | tar -x -C "$code"
	cd "$code"
	"$root/.venv/bin/python" -W ignore -m mrdaemon run -c "$here/core.toml" --state "$here/$1" >/dev/null
	if [ "$3" = snapshot ]; then
		"$root/.venv/bin/python" - "$here/$1/journal.db" <<-'END'
			import sys
			from pathlib import Path
			from mrdaemon import chain
			path = Path(sys.argv[1])
			connection = chain.connect(path, "rw")
			chain.save_snapshot(connection, chain.fold(connection, path))
			connection.close()
		END
	fi
	rm -f "$here/$1"/*.lock "$here/$1"/*.sock
}

make_one schema-1-fold-1 3843f64 none     # the first journals
make_one schema-1-fold-2 b9c5c8b snapshot # before live feeds
make_one schema-1-fold-3 316aaeb snapshot # the last without channels in the state
make_one schema-1-fold-4 c407de3 snapshot # the last without alerts
make_one schema-2-fold-4 dc8546d snapshot # with alerts, before the configuration could be read anew
