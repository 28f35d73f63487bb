#!/bin/bash
# A throw-away one-node Ceph (monitor, one OSD, S3 gateway) on loopback: a real S3 server
# for the tests. From Debian's packages alone, without systemd or Docker; nothing is
# written outside DIR.
#
#   apt-get install -y --no-install-recommends ceph-mon ceph-osd radosgw curl
#   tests/s3/ceph.sh start [DIR] [PORT]   prints the endpoint
#   tests/s3/ceph.sh stop  [DIR]
#
# Listens on PORT (9103) and PORT+7000. Keys: ACCESS_KEY and SECRET_KEY, by default
# testkey1 and testsecret1. Region us-east-1. It makes no bucket.
# STORE=memstore (RAM, the default) or STORE=bluestore (a sparse 10 GiB file in DIR).
set -eu
COMMAND=${1:-start}
DIR=${2:-/tmp/artifactstore-ceph}
PORT=${3:-9103}
STORE=${STORE:-memstore}
ACCESS_KEY=${ACCESS_KEY:-testkey1}
SECRET_KEY=${SECRET_KEY:-testsecret1}
MON_PORT=$((PORT + 7000))
MARK="$DIR/.throw-away-ceph"

pids() { for name in rgw osd.0 mon.a; do [ -s "$DIR/run/$name.pid" ] && cat "$DIR/run/$name.pid"; done; return 0; }

if [ "$COMMAND" = stop ]; then
  # SIGKILL: everything in DIR is throw-away, and radosgw does not end once its OSD is gone.
  for pid in $(pids); do kill -9 "$pid" 2>/dev/null || true; done
  rm -f "$DIR"/run/*.pid
  exit 0
fi

for tool in monmaptool ceph-mon ceph ceph-osd radosgw radosgw-admin curl; do
  command -v "$tool" >/dev/null || {
    echo "$tool is missing: apt-get install -y --no-install-recommends ceph-mon ceph-osd radosgw curl" >&2
    exit 1
  }
done
for pid in $(pids); do
  if kill -0 "$pid" 2>/dev/null; then echo "already running in $DIR; stop it first" >&2; exit 1; fi
done
if [ -e "$DIR" ] && [ ! -e "$MARK" ] && [ -n "$(ls -A "$DIR" 2>/dev/null)" ]; then
  echo "$DIR is not empty and was not made by this script" >&2
  exit 1
fi
rm -rf "$DIR"
mkdir -p "$DIR"/{mon,osd,run,log}
touch "$MARK"

FSID=$(cat /proc/sys/kernel/random/uuid)
cat > "$DIR/ceph.conf" <<CONF
[global]
fsid = $FSID
mon host = v1:127.0.0.1:$MON_PORT
# Without authentication only the old messenger works: on the new one radosgw hangs.
ms bind msgr2 = false
auth cluster required = none
auth service required = none
auth client required = none
public addr = 127.0.0.1
cluster addr = 127.0.0.1
run dir = $DIR/run
admin socket = $DIR/run/\$name.asok
pid file = $DIR/run/\$name.pid
log file = $DIR/log/\$name.log
crash dir = $DIR/log
mon data = $DIR/mon
osd data = $DIR/osd
mon data avail warn = 2
mon data avail crit = 1
paxos propose interval = 0.02
paxos min wait = 0.01
mon allow pool size one = true
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd crush chooseleaf type = 0
# With these two on, ceph-osd fails to start every second time ("wrong fsid").
osd crush update on start = false
osd class update on start = false
osd objectstore = $STORE
memstore device bytes = 8589934592
bluestore block size = 10737418240
osd memory target = 939524096
rgw thread pool size = 64
# Deleted objects give their memory back within seconds, not hours.
rgw gc obj min wait = 2
rgw gc processor period = 2
rgw gc processor max time = 2
[client.rgw]
# Without tcp_nodelay each small GET waits 40 ms for a delayed acknowledgement.
rgw frontends = beast endpoint=127.0.0.1:$PORT tcp_nodelay=1
rgw data = $DIR
CONF
CONF_OPTION="-c $DIR/ceph.conf"

# A client that asks the monitor before its first map is refused now and then; it may just ask again.
again() {
  for _ in 1 2 3 4 5 6 7 8; do
    timeout 30 "$@" >>"$DIR/log/start.log" 2>&1 && return 0
    sleep 0.1
  done
  tail -5 "$DIR/log/start.log" >&2
  return 1
}

# shellcheck disable=SC2086  # CONF_OPTION is two words
{
  monmaptool --create --fsid "$FSID" --addv a "[v1:127.0.0.1:$MON_PORT]" "$DIR/monmap" >/dev/null
  ceph-mon $CONF_OPTION -i a --mkfs --monmap "$DIR/monmap"
  ceph-mon $CONF_OPTION -i a
  OSD=$(cat /proc/sys/kernel/random/uuid)
  again ceph $CONF_OPTION osd new "$OSD"
  again ceph-osd $CONF_OPTION -i 0 --mkfs --osd-uuid "$OSD"
  again ceph $CONF_OPTION osd crush add osd.0 1.0 root=default
  again ceph-osd $CONF_OPTION -i 0
  again radosgw-admin $CONF_OPTION -n client.rgw user create --uid=test --display-name=test \
    --access-key="$ACCESS_KEY" --secret="$SECRET_KEY"
  setsid radosgw $CONF_OPTION -n client.rgw -f >"$DIR/log/rgw.out" 2>&1 &
}
echo $! > "$DIR/run/rgw.pid"
for _ in $(seq 600); do
  if curl -s -o /dev/null "http://127.0.0.1:$PORT/"; then
    echo "http://127.0.0.1:$PORT"
    exit 0
  fi
  sleep 0.05
done
tail -5 "$DIR/log/rgw.out" >&2
exit 1
