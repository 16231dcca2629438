#!/bin/sh
# Draw the passwords of compose.yaml's two MQTT users into secrets/, once: a password that is there stays.
set -eu
umask 077
cd "$(dirname "$0")/.."
image=$(sed -n 's/^ *image: \(eclipse-mosquitto:.*\)$/\1/p' compose.yaml)

mkdir -p secrets
for name in mqtt__password house__password; do
    [ -s "secrets/$name" ] || od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"secrets/$name"
done

# The broker keeps hashes, which its own tool makes; passwords go through pipes, where no list of processes shows them.
printf 'mrdaemon:%s\nhouse:%s\n' "$(cat secrets/mqtt__password)" "$(cat secrets/house__password)" |
    docker run --rm --interactive --network none "$image" \
        sh -c 'file=$(mktemp) && cat >"$file" && mosquitto_passwd -U "$file" && cat "$file"' >secrets/.hashes
mv -f secrets/.hashes secrets/mosquitto_passwd

# The users in the containers must read them. Nobody else here can: the folder is its owner's alone.
chmod 0444 secrets/mqtt__password secrets/mosquitto_passwd
