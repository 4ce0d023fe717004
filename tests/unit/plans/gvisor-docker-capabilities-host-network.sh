#!/bin/sh
# What `kins up` would do in this sandbox now, as a script: cluster 'default', level node.
#
#   kins plan > plan.sh
#   sh plan.sh                     until Ctrl-C
#   sh plan.sh kubectl get nodes   for as long as a command runs
#
# At its end it takes back everything. kins does the same from the same lists, more of it side by side. Besides, kins
# remembers the cluster for other commands, makes it kubectl's current context, stops it in order, starts what dies after
# a growing pause, and keeps logs within a size. Names and ports below were chosen when the script was printed.
#
# Decided by the facts of this sandbox (kins up writes them to facts.json):
# - kubelet no-cadvisor: usage_per_cpu: cAdvisor drops the root's figures where cpuacct.usage_percpu is missing
# - images: snapshotter native, on disk
# - control groups: kernel; interception: no
# - the node lives in a user namespace of its own, with the sandbox's network
# - outside names: none
# - a relay to the outside: no
#
# What this level does not do here:
# - network-policy: NetworkPolicy objects are accepted and not enforced
# - resolvers: pods find no outside names; this sandbox has no resolver in reach (/etc/resolv.conf)
# - shared-network: pods have no network of their own, because network namespaces have no IP here; they use the
#   sandbox's, each at an address of 127.42.0.0/16 in the place of its own, and nothing keeps them apart
# - shared-network-places: programs of the sandbox itself reach pods at 127.42.x.y in the place of 10.42.x.y, and
#   Services at 127.43.x.y in the place of 10.43.x.y
# - memory and CPU limits of containers are stored and not enforced (gVisor's control groups)

set -eu
CLUSTER=/home/kins/clusters/default
ENTER='/opt/kins/bin/python -P -m kins.cluster.user_namespace --'

# The same in every plan: how a script notes what to undo, keeps programs running, waits, and ends. Its variables:
# CLUSTER, the directory of all files; ENTER, the command that makes the namespaces of a node, empty without one.

fail() {
    echo "plan: $*" >&2
    exit 1
}

# need PROGRAM…
need() {
    for program; do
        command -v "$program" > /dev/null || fail "this script calls the program '$program', which is not here"
    done
}

# Undoing. The line that takes a change back is written before the change is made, so that a death at any moment leaves
# something to undo; the last line is run first.

# note LINE: of shell
note() {
    printf '%s\n' "$1" >> "$CLUSTER/undo"
}

# note_directories PATH: those of its directories that `mkdir -p` is about to make; they go with their mount, if they
# were in one, and stay where somebody else has put something there since
note_directories() {
    place=$1
    set --
    while [ ! -e "$place" ]; do
        set -- "$place" "$@"
        place=$(dirname "$place")
    done
    for place; do
        note "rmdir '$place' 2> /dev/null || true"
    done
}

# note_value FILE VALUE: what a kernel setting is now; it is taken back only if it is still ours then
note_value() {
    before=$(cat "$1")
    [ "$before" = "$2" ] || note "[ \"\$(cat '$1')\" != '$2' ] || echo '$before' > '$1'"
}

# note_link NAME: refused where somebody else has made it
note_link() {
    ! grep -q "^ *$1:" /proc/net/dev || fail "there is a link $1 already"
    note "ip link del $1"
}

# note_address ADDRESS LINK
note_address() {
    ! ip addr show | grep -qF " $1 " || fail "the sandbox has the address $1 already"
    note "ip addr del $1 dev $2"
}

# note_groups DIRECTORY [CONTROLLERS]: the latter where the hierarchy is mounted inside of the namespaces alone; its
# groups outlive the mount, and are seen again by another one
note_groups() {
    if [ $# -gt 1 ]; then
        top=$(dirname "$(dirname "$1")")
        note "see_hierarchy '$2' '$top' '$top/$(basename "$1")'"
    else
        note "remove_groups '$1'"
    fi
}

# see_hierarchy CONTROLLERS PLACE DIRECTORY; where nobody may mount, in a user namespace, as the node was
see_hierarchy() {
    as_root=
    unshare --mount true 2> /dev/null || as_root='--user --map-root-user'
    # shellcheck disable=SC2016,SC2086  # for the inner shell; options
    unshare $as_root --mount sh -c 'mount -t cgroup -o "$1" cgroup "$2" && find "$3" -depth -type d -exec rmdir {} +' - "$@"
}

# remove_groups DIRECTORY: a control group with those in it; the processes that were there are dead, or dying
remove_groups() {
    for _ in 1 2 3 4 5; do
        find "$1" -depth -type d -exec rmdir {} + 2> /dev/null || true
        [ -e "$1" ] || return 0
        sleep 1
    done
    return 1
}

# cover DIRECTORY ORIGINAL: a writable view of what cannot be written; the second is where it is seen as it was
cover() {
    mount --rbind "$1" "$2"
    mount --make-rprivate "$2"
    mount -t tmpfs -o "mode=$(stat -c %a "$1")" kins "$1"
    mount --make-private "$1"
    for entry in "$2"/* "$2"/.[!.]*; do
        place=$1/$(basename "$entry")
        if [ -L "$entry" ]; then
            cp -P "$entry" "$place"
        elif [ -d "$entry" ]; then
            mkdir -p "$place" # mount itself makes one in /run
            mount --rbind "$entry" "$place"
        elif [ -e "$entry" ]; then
            : > "$place"
            mount --bind "$entry" "$place"
        fi
    done
}

undo() {
    [ -e "$CLUSTER/undo" ] || return 0
    sed '1!G;h;$!d' "$CLUSTER/undo" > "$CLUSTER/undo-in-order"
    while IFS= read -r line; do
        eval "$line" || echo "plan: could not undo: $line" >&2
    done < "$CLUSTER/undo-in-order"
}

# Programs.

# component NAME COMMAND…: kept running; what it says goes into a log
component() {
    log=$CLUSTER/logs/$1.log
    shift
    (
        child=
        # at once: nothing of it is kept, and the API server waits for an etcd that is gone
        trap 'kill -KILL "$child" 2> /dev/null; wait "$child" 2> /dev/null; exit 0' TERM
        while :; do
            "$@" < /dev/null >> "$log" 2>&1 &
            child=$!
            wait "$child" || true
            sleep 1
        done
    ) &
    echo $! >> "$CLUSTER/run/pids"
}

# wait_for WHAT COMMAND…: until the command succeeds, for two minutes at most
wait_for() {
    what=$1
    shift
    tries=240
    until "$@" > /dev/null 2>&1; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || fail "waited in vain for: $what"
        sleep 0.5
    done
    echo "plan: $what" >&2
}

# What is outside of the namespaces: it starts the rest of the script inside of them, waits, and ends everything.

# end_inside: the first process of the namespaces takes all others with it, and their mounts
end_inside() {
    [ -n "$inside" ] || return 0
    until [ -s "$CLUSTER/run/first" ] || ! kill -0 "$inside" 2> /dev/null; do
        sleep 0.1
    done
    first=$(cat "$CLUSTER/run/first" 2> /dev/null || true)
    kill -TERM "$first" 2> /dev/null || true
    tries=25
    while kill -0 "$first" 2> /dev/null; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || kill -KILL "$first"
        sleep 0.2
    done
    wait "$inside" || true
}

# forget: the cluster's directory, and those above it that were made for it
forget() {
    # what containers of an ordinary user made may be closed to that user, who is root in a namespace alone
    rm -rf "$CLUSTER" 2> /dev/null || unshare --user --map-root-user rm -rf "$CLUSTER"
    place=$(dirname "$CLUSTER")
    while [ "$place" != "$above" ] && rmdir "$place" 2> /dev/null; do
        place=$(dirname "$place")
    done
}

finish() {
    status=$?
    trap '' INT TERM
    echo "plan: undoing everything" >&2
    end_inside
    undo
    forget
    trap - EXIT
    exit "$status"
}

# outside SCRIPT [COMMAND…]: the cluster for as long as the command runs, or until Ctrl-C
outside() {
    script=$1
    shift
    [ -f "$script" ] || fail "write the plan to a file and run that: kins plan > plan.sh; sh plan.sh"
    [ ! -e "$CLUSTER" ] || fail "there is something already: $CLUSTER"
    above=$CLUSTER
    until [ -e "$above" ]; do
        above=$(dirname "$above")
    done
    (umask 077 && mkdir -p "$CLUSTER/run" "$CLUSTER/logs")
    inside=
    trap finish EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    # shellcheck disable=SC2086  # a command line
    $ENTER sh "$script" --inside < /dev/null &
    inside=$!
    until [ -e "$CLUSTER/run/ready" ]; do
        kill -0 "$inside" 2> /dev/null || {
            tail -n 2 "$CLUSTER"/logs/*.log >&2
            fail "the cluster did not come up"
        }
        sleep 0.2
    done
    export KUBECONFIG="$CLUSTER/kubeconfig" KUBECACHEDIR="$CLUSTER/kubectl-cache" PATH="$CLUSTER/bin:$PATH"
    if [ $# -gt 0 ]; then
        "$@"
    else
        echo "plan: ready; export KUBECONFIG=$KUBECONFIG; Ctrl-C ends it" >&2
        wait "$inside"
    fi
}

# started_inside: first of all, from inside; the process as it is seen from outside, because /proc still is that one
started_inside() {
    read -r first _ < /proc/self/stat
    echo "$first" > "$CLUSTER/run/first"
    : > "$CLUSTER/run/pids"
    # shellcheck disable=SC2046  # process ids
    trap '[ -n "$ENTER" ] || { kill $(cat "$CLUSTER/run/pids") 2> /dev/null; wait; }; exit 0' TERM
}

# stay_inside: last of all; collects what ends, orphans included
stay_inside() {
    : > "$CLUSTER/run/ready"
    while :; do
        wait
        sleep 1
    done
}

### What this script needs

need base64 basename cat chmod cp dirname env grep id ln mkdir rm rmdir sed sleep stat tail find hostname mount umount unshare
# iproute2 is missing in many images: then kins' own Python does what is asked of it here
command -v ip > /dev/null || ip() { /opt/kins/bin/python -P -m kins.plan.ip "$@"; }

if [ "${1-}" != --inside ]; then
    outside "$0" "$@"
    exit
fi

### The cluster's directory, from inside of the namespaces

started_inside

# for their owner only
umask 077
mkdir \
    -p \
    /home/kins/clusters/default \
    /home/kins/clusters/default/pki \
    /home/kins/clusters/default/config \
    /home/kins/clusters/default/config/cni \
    /home/kins/clusters/default/logs \
    /home/kins/clusters/default/run \
    /home/kins/clusters/default/tmp \
    /home/kins/clusters/default/images \
    /home/kins/clusters/default/registry \
    /home/kins/clusters/default/image-content \
    /home/kins/clusters/default/containerd \
    /home/kins/clusters/default/kubelet \
    /home/kins/clusters/default/pod-logs \
    /home/kins/clusters/default/volumes \
    /home/kins/clusters/default/addresses \
    /home/kins/clusters/default/bin
# pods of any user read the volumes below it
chmod 755 /home/kins/clusters/default/kubelet
# the engine's first argument or name is the program
ln -s /opt/kins/lib/kins/_bin/kins-engine "$CLUSTER/bin/kubectl"
export PATH="$CLUSTER/bin:$PATH" KUBECONFIG="$CLUSTER/kubeconfig" KUBECACHEDIR="$CLUSTER/kubectl-cache"

### Certificates and configuration of the control plane

# keys and certificates, by kins' own Python: openssl is not to be found in small sandboxes
/opt/kins/bin/python -P -m kins.pki /home/kins/clusters/default/pki sa <<'END'
[
  {"name":"admin","common_name":"kubernetes-admin","organizations":["system:masters"]},
  {"name":"kube-apiserver-kubelet-client","common_name":"kube-apiserver-kubelet-client","organizations":["system:masters"]},
  {"name":"kube-controller-manager","common_name":"system:kube-controller-manager"},
  {"name":"kube-scheduler","common_name":"system:kube-scheduler"},
  {"name":"provisioner","common_name":"kins:provisioner"},
  {"name":"front-proxy-client","common_name":"front-proxy-client","authority":"front-proxy-ca"},
  {"name":"kube-apiserver","common_name":"kube-apiserver","dns_names":["localhost","kubernetes","kubernetes.default","kubernetes.default.svc","kubernetes.default.svc.cluster.local"],"ip_addresses":["127.0.0.1","10.42.0.1","10.43.0.1"]}
]
END

# kube-controller-manager
cat > /home/kins/clusters/default/config/kube-controller-manager.kubeconfig <<END
apiVersion: v1
kind: Config
clusters:
- name: kins-default
  cluster:
    server: https://127.0.0.1:40001
    certificate-authority-data: $(base64 -w 0 /home/kins/clusters/default/pki/ca.crt)
contexts:
- name: kins-default
  context:
    cluster: kins-default
    user: kins-default
users:
- name: kins-default
  user:
    client-certificate-data: $(base64 -w 0 /home/kins/clusters/default/pki/kube-controller-manager.crt)
    client-key-data: $(base64 -w 0 /home/kins/clusters/default/pki/kube-controller-manager.key)
current-context: kins-default
END

# kube-scheduler
cat > /home/kins/clusters/default/config/kube-scheduler.kubeconfig <<END
apiVersion: v1
kind: Config
clusters:
- name: kins-default
  cluster:
    server: https://127.0.0.1:40001
    certificate-authority-data: $(base64 -w 0 /home/kins/clusters/default/pki/ca.crt)
contexts:
- name: kins-default
  context:
    cluster: kins-default
    user: kins-default
users:
- name: kins-default
  user:
    client-certificate-data: $(base64 -w 0 /home/kins/clusters/default/pki/kube-scheduler.crt)
    client-key-data: $(base64 -w 0 /home/kins/clusters/default/pki/kube-scheduler.key)
current-context: kins-default
END

# provisioner
cat > /home/kins/clusters/default/config/provisioner.kubeconfig <<END
apiVersion: v1
kind: Config
clusters:
- name: kins-default
  cluster:
    server: https://127.0.0.1:40001
    certificate-authority-data: $(base64 -w 0 /home/kins/clusters/default/pki/ca.crt)
contexts:
- name: kins-default
  context:
    cluster: kins-default
    user: kins-default
users:
- name: kins-default
  user:
    client-certificate-data: $(base64 -w 0 /home/kins/clusters/default/pki/provisioner.crt)
    client-key-data: $(base64 -w 0 /home/kins/clusters/default/pki/provisioner.key)
current-context: kins-default
END

# kubectl
cat > /home/kins/clusters/default/kubeconfig <<END
apiVersion: v1
kind: Config
clusters:
- name: kins-default
  cluster:
    server: https://127.0.0.1:40001
    certificate-authority-data: $(base64 -w 0 /home/kins/clusters/default/pki/ca.crt)
contexts:
- name: kins-default
  context:
    cluster: kins-default
    user: kins-default
users:
- name: kins-default
  user:
    client-certificate-data: $(base64 -w 0 /home/kins/clusters/default/pki/admin.crt)
    client-key-data: $(base64 -w 0 /home/kins/clusters/default/pki/admin.key)
current-context: kins-default
END

# pod_network
cat > /home/kins/clusters/default/config/intercept.json <<'END'
{"version":1,"rules":[{"address":{"from":"10.42.0.0/16","to":"127.42.0.0/16"}},{"address":{"from":"10.43.0.0/16","to":"127.43.0.0/16"}},{"address":{"from":"10.44.0.0/16","to":"127.44.0.0/16"}},{"source":{"address":"127.42.0.1"}}]}
END

umask 022

### The control plane. All start at once: each waits for what it needs

# shellcheck disable=SC2016  # for the inner shell
component etcd env -i \
    PATH=/opt/kins/lib/kins/_bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/home/kins/clusters/default \
    TMPDIR=/home/kins/clusters/default/tmp \
    LANG=C.UTF-8 \
    sh \
    -c \
    'cd "$0" && exec "$@"' \
    /home/kins/clusters/default/run \
    /opt/kins/lib/kins/_bin/kins-engine \
    etcd \
    --name=default \
    --data-dir=/home/kins/clusters/default/etcd \
    --unsafe-no-fsync \
    --listen-client-urls=unix:///home/kins/clusters/default/run/etcd.sock \
    --advertise-client-urls=http://127.0.0.1:2379 \
    --listen-peer-urls=unix://etcd-peer.sock \
    --initial-advertise-peer-urls=http://127.0.0.1:2380 \
    --initial-cluster=default=http://127.0.0.1:2380 \
    --heartbeat-interval=50 \
    --election-timeout=250 \
    --log-level=warn

# kube-apiserver needs etcd
component kube-apiserver env -i \
    PATH=/opt/kins/lib/kins/_bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/home/kins/clusters/default \
    TMPDIR=/home/kins/clusters/default/tmp \
    LANG=C.UTF-8 \
    /opt/kins/lib/kins/_bin/kins-intercept \
    --backend \
    auto \
    --rules \
    /home/kins/clusters/default/config/intercept.json \
    -- \
    /opt/kins/lib/kins/_bin/kins-engine \
    kube-apiserver \
    --etcd-servers=unix:///home/kins/clusters/default/run/etcd.sock \
    --bind-address=127.0.0.1 \
    --secure-port=40001 \
    --advertise-address=10.42.0.1 \
    --endpoint-reconciler-type=lease \
    --enable-aggregator-routing \
    --service-cluster-ip-range=10.43.0.0/16 \
    --client-ca-file=/home/kins/clusters/default/pki/ca.crt \
    --tls-cert-file=/home/kins/clusters/default/pki/kube-apiserver.crt \
    --tls-private-key-file=/home/kins/clusters/default/pki/kube-apiserver.key \
    --service-account-key-file=/home/kins/clusters/default/pki/sa.pub \
    --service-account-signing-key-file=/home/kins/clusters/default/pki/sa.key \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local \
    --authorization-mode=Node,RBAC \
    --enable-admission-plugins=NodeRestriction \
    --allow-privileged=true \
    --kubelet-client-certificate=/home/kins/clusters/default/pki/kube-apiserver-kubelet-client.crt \
    --kubelet-client-key=/home/kins/clusters/default/pki/kube-apiserver-kubelet-client.key \
    --kubelet-certificate-authority=/home/kins/clusters/default/pki/ca.crt \
    --kubelet-preferred-address-types=InternalIP,Hostname \
    --requestheader-client-ca-file=/home/kins/clusters/default/pki/front-proxy-ca.crt \
    --requestheader-allowed-names=front-proxy-client \
    --requestheader-extra-headers-prefix=X-Remote-Extra- \
    --requestheader-group-headers=X-Remote-Group \
    --requestheader-username-headers=X-Remote-User \
    --proxy-client-cert-file=/home/kins/clusters/default/pki/front-proxy-client.crt \
    --proxy-client-key-file=/home/kins/clusters/default/pki/front-proxy-client.key \
    --enable-bootstrap-token-auth=true

# kube-controller-manager needs kube-apiserver
component kube-controller-manager env -i \
    PATH=/opt/kins/lib/kins/_bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/home/kins/clusters/default \
    TMPDIR=/home/kins/clusters/default/tmp \
    LANG=C.UTF-8 \
    /opt/kins/lib/kins/_bin/kins-engine \
    kube-controller-manager \
    --bind-address=127.0.0.1 \
    --secure-port=40002 \
    --kubeconfig=/home/kins/clusters/default/config/kube-controller-manager.kubeconfig \
    --authentication-kubeconfig=/home/kins/clusters/default/config/kube-controller-manager.kubeconfig \
    --authorization-kubeconfig=/home/kins/clusters/default/config/kube-controller-manager.kubeconfig \
    --client-ca-file=/home/kins/clusters/default/pki/ca.crt \
    --requestheader-client-ca-file=/home/kins/clusters/default/pki/front-proxy-ca.crt \
    --service-account-private-key-file=/home/kins/clusters/default/pki/sa.key \
    --root-ca-file=/home/kins/clusters/default/pki/ca.crt \
    --cluster-signing-cert-file=/home/kins/clusters/default/pki/ca.crt \
    --cluster-signing-key-file=/home/kins/clusters/default/pki/ca.key \
    --use-service-account-credentials \
    --leader-elect=false \
    --allocate-node-cidrs=false \
    '--controllers=*,bootstrap-signer-controller,token-cleaner-controller' \
    --kube-api-qps=1000 \
    --kube-api-burst=2000

# kube-scheduler needs kube-apiserver
component kube-scheduler env -i \
    PATH=/opt/kins/lib/kins/_bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/home/kins/clusters/default \
    TMPDIR=/home/kins/clusters/default/tmp \
    LANG=C.UTF-8 \
    /opt/kins/lib/kins/_bin/kins-engine \
    kube-scheduler \
    --bind-address=127.0.0.1 \
    --secure-port=40003 \
    --kubeconfig=/home/kins/clusters/default/config/kube-scheduler.kubeconfig \
    --authentication-kubeconfig=/home/kins/clusters/default/config/kube-scheduler.kubeconfig \
    --authorization-kubeconfig=/home/kins/clusters/default/config/kube-scheduler.kubeconfig \
    --leader-elect=false

### Certificates and configuration of the node

umask 077

# keys and certificates, by kins' own Python: openssl is not to be found in small sandboxes
/opt/kins/bin/python -P -m kins.pki /home/kins/clusters/default/pki <<'END'
[
  {"name":"kubelet-client","common_name":"system:node:kins-default","organizations":["system:nodes"]},
  {"name":"kubelet","common_name":"kins-default","dns_names":["kins-default"],"ip_addresses":["10.42.0.1","127.0.0.1"]},
  {"name":"service-proxy","common_name":"kins:service-proxy"},
  {"name":"metrics-server","common_name":"kins:metrics-server","dns_names":["metrics-server.kube-system.svc"],"ip_addresses":["10.42.0.1"]},
  {"name":"coredns","common_name":"system:coredns"}
]
END

# kubelet
cat > /home/kins/clusters/default/config/kubelet.kubeconfig <<END
apiVersion: v1
kind: Config
clusters:
- name: kins-default
  cluster:
    server: https://127.0.0.1:40001
    certificate-authority-data: $(base64 -w 0 /home/kins/clusters/default/pki/ca.crt)
contexts:
- name: kins-default
  context:
    cluster: kins-default
    user: kins-default
users:
- name: kins-default
  user:
    client-certificate-data: $(base64 -w 0 /home/kins/clusters/default/pki/kubelet-client.crt)
    client-key-data: $(base64 -w 0 /home/kins/clusters/default/pki/kubelet-client.key)
current-context: kins-default
END

# service-proxy
cat > /home/kins/clusters/default/config/service-proxy.kubeconfig <<END
apiVersion: v1
kind: Config
clusters:
- name: kins-default
  cluster:
    server: https://127.0.0.1:40001
    certificate-authority-data: $(base64 -w 0 /home/kins/clusters/default/pki/ca.crt)
contexts:
- name: kins-default
  context:
    cluster: kins-default
    user: kins-default
users:
- name: kins-default
  user:
    client-certificate-data: $(base64 -w 0 /home/kins/clusters/default/pki/service-proxy.crt)
    client-key-data: $(base64 -w 0 /home/kins/clusters/default/pki/service-proxy.key)
current-context: kins-default
END

# metrics-server
cat > /home/kins/clusters/default/config/metrics-server.kubeconfig <<END
apiVersion: v1
kind: Config
clusters:
- name: kins-default
  cluster:
    server: https://127.0.0.1:40001
    certificate-authority-data: $(base64 -w 0 /home/kins/clusters/default/pki/ca.crt)
contexts:
- name: kins-default
  context:
    cluster: kins-default
    user: kins-default
users:
- name: kins-default
  user:
    client-certificate-data: $(base64 -w 0 /home/kins/clusters/default/pki/metrics-server.crt)
    client-key-data: $(base64 -w 0 /home/kins/clusters/default/pki/metrics-server.key)
current-context: kins-default
END

# coredns
cat > /home/kins/clusters/default/config/coredns.kubeconfig <<END
apiVersion: v1
kind: Config
clusters:
- name: kins-default
  cluster:
    server: https://127.0.0.1:40001
    certificate-authority-data: $(base64 -w 0 /home/kins/clusters/default/pki/ca.crt)
contexts:
- name: kins-default
  context:
    cluster: kins-default
    user: kins-default
users:
- name: kins-default
  user:
    client-certificate-data: $(base64 -w 0 /home/kins/clusters/default/pki/coredns.crt)
    client-key-data: $(base64 -w 0 /home/kins/clusters/default/pki/coredns.key)
current-context: kins-default
END

# containerd
cat > /home/kins/clusters/default/config/containerd.toml <<'END'
version = 3
root = "/home/kins/clusters/default/containerd"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.internal.v1.opt",
  "io.containerd.nri.v1.nri",
  "io.containerd.snapshotter.v1.blockfile",
  "io.containerd.snapshotter.v1.erofs",
  "io.containerd.differ.v1.erofs",
  "io.containerd.tracing.processor.v1.otlp",
  "io.containerd.internal.v1.tracing",
]

[grpc]
  address = "/home/kins/clusters/default/run/containerd.sock"

[plugins."io.containerd.cri.v1.images"]
  snapshotter = "native"
  use_local_image_pull = true
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = "/root/.config/containerd/certs.d:/root/.config/docker/certs.d:/etc/containerd/certs.d:/etc/docker/certs.d"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "kins.example/pause:1"

[plugins."io.containerd.cri.v1.runtime"]
  disable_apparmor = true
  restrict_oom_score_adj = true
  enable_unprivileged_ports = false
  enable_unprivileged_icmp = false
  netns_mounts_under_state_dir = true
  enable_cdi = false
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["/home/kins/clusters/default/config/shared-pods", "/opt/kins/lib/kins/_bin"]
    conf_dir = "/home/kins/clusters/default/config/cni"
    use_internal_loopback = false
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    runtime_path = "/home/kins/clusters/default/config/shared-pods/containerd-shim-runc-v2"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      BinaryName = "/home/kins/clusters/default/config/shared-pods/runc"
      NoNewKeyring = true
END

# egress
rm -rf /home/kins/clusters/default/run/egress

# kins-cni
cat > /home/kins/clusters/default/config/cni/10-kins.conflist <<'END'
{
  "cniVersion": "1.0.0",
  "name": "kins",
  "plugins": [
    {
      "type": "kins-cni",
      "shared": true,
      "subnet": "10.42.0.0/16",
      "gateway": "10.42.0.1",
      "dataDir": "/home/kins/clusters/default/addresses"
    }
  ]
}
END

# pod_network
rm -rf /home/kins/clusters/default/config/shared-pods && mkdir /home/kins/clusters/default/config/shared-pods

# pod_network
ln -s /opt/kins/lib/kins/_bin/kins-cni /home/kins/clusters/default/config/shared-pods/containerd-shim-runc-v2

# pod_network
ln -s /opt/kins/lib/kins/_bin/kins-cni /home/kins/clusters/default/config/shared-pods/runc

# pod_network
ln -s /opt/kins/lib/kins/_bin/kins-cni /home/kins/clusters/default/config/shared-pods/loopback

# pod_network
cat > /home/kins/clusters/default/config/shared-pods/shared-pods.json <<'END'
{
  "shim": "/opt/kins/lib/kins/_bin/containerd-shim-runc-v2",
  "runc": "/opt/kins/lib/kins/_bin/runc",
  "interceptor": "/opt/kins/lib/kins/_bin/kins-intercept",
  "addresses": "/home/kins/clusters/default/addresses/kins",
  "node": "127.42.0.1",
  "rules": [
    {
      "address": {
        "from": "10.42.0.0/16",
        "to": "127.42.0.0/16"
      }
    },
    {
      "address": {
        "from": "10.43.0.0/16",
        "to": "127.43.0.0/16"
      }
    },
    {
      "address": {
        "from": "10.44.0.0/16",
        "to": "127.44.0.0/16"
      }
    }
  ]
}
END

# kubelet
cat > /home/kins/clusters/default/config/kubelet.json <<'END'
{
  "apiVersion": "kubelet.config.k8s.io/v1beta1",
  "kind": "KubeletConfiguration",
  "address": "127.42.0.1",
  "port": 40004,
  "healthzBindAddress": "127.0.0.1",
  "healthzPort": 40005,
  "authentication": {
    "anonymous": {
      "enabled": false
    },
    "webhook": {
      "enabled": true
    },
    "x509": {
      "clientCAFile": "/home/kins/clusters/default/pki/ca.crt"
    }
  },
  "authorization": {
    "mode": "Webhook"
  },
  "tlsCertFile": "/home/kins/clusters/default/pki/kubelet.crt",
  "tlsPrivateKeyFile": "/home/kins/clusters/default/pki/kubelet.key",
  "containerRuntimeEndpoint": "unix:///home/kins/clusters/default/run/containerd.sock",
  "cgroupDriver": "cgroupfs",
  "cgroupRoot": "/kins-default-0a1b2c",
  "failCgroupV1": false,
  "failSwapOn": false,
  "makeIPTablesUtilChains": false,
  "protectKernelDefaults": false,
  "clusterDNS": [
    "127.43.0.10"
  ],
  "clusterDomain": "cluster.local",
  "resolvConf": "/home/kins/clusters/default/config/resolv.conf",
  "volumePluginDir": "/home/kins/clusters/default/kubelet/volume-plugins",
  "evictionHard": {
    "memory.available": "100Mi",
    "nodefs.available": "0%",
    "nodefs.inodesFree": "0%",
    "imagefs.available": "0%"
  },
  "imageGCHighThresholdPercent": 100,
  "nodeStatusReportFrequency": "1m0s",
  "logging": {
    "verbosity": 1
  }
}
END

# kubelet
ln -s /root/.docker/config.json /home/kins/clusters/default/kubelet/config.json

# kubelet
cat > /home/kins/clusters/default/config/resolv.conf <<'END'
nameserver 127.43.0.10
search example.org
END

# kubelet
rm -rf /home/kins/clusters/default/config/kubelet-view.json

# programs: the kubelet calls them for volumes
rm -rf /home/kins/clusters/default/config/kubelet-programs

# coredns
cat > /home/kins/clusters/default/config/Corefile <<'END'
cluster.local 10.42.0.0/16 10.43.0.0/16 {
    bind 127.43.0.10
    errors
    kubernetes {
        kubeconfig /home/kins/clusters/default/config/coredns.kubeconfig
        pods insecure
        startup_timeout 30s
    }
    loadbalance
}
. {
    bind 127.43.0.10
    errors
    cache 30
    template ANY ANY {
        rcode NXDOMAIN
    }
}
END

umask 022

### The sandbox, prepared for a node. Mounts end with the namespace; the rest is noted to be undone

# the namespaces have a host name of their own
hostname kins-default

# fact namespaces
mount --make-rprivate /

# mount propagation into containers (kubelet)
mount --make-rshared /

# fact namespaces
mount -t proc proc /proc

# fact sysctls
note_directories /home/kins/clusters/default/run/proc-sys
mkdir -p /home/kins/clusters/default/run/proc-sys
mount -t tmpfs -o mode=0755 kins /home/kins/clusters/default/run/proc-sys
note_directories /home/kins/clusters/default/run/proc-sys/work
mkdir -p /home/kins/clusters/default/run/proc-sys/work
note_directories /home/kins/clusters/default/run/proc-sys/upper/kernel
mkdir -p /home/kins/clusters/default/run/proc-sys/upper/kernel
[ -e /home/kins/clusters/default/run/proc-sys/upper/kernel/panic ] || note 'rm -f /home/kins/clusters/default/run/proc-sys/upper/kernel/panic'
[ -e /home/kins/clusters/default/run/proc-sys/upper/kernel/panic ] || { echo 10 > /home/kins/clusters/default/run/proc-sys/upper/kernel/panic; }
note_directories /home/kins/clusters/default/run/proc-sys/upper/kernel
mkdir -p /home/kins/clusters/default/run/proc-sys/upper/kernel
[ -e /home/kins/clusters/default/run/proc-sys/upper/kernel/panic_on_oops ] || note 'rm -f /home/kins/clusters/default/run/proc-sys/upper/kernel/panic_on_oops'
[ -e /home/kins/clusters/default/run/proc-sys/upper/kernel/panic_on_oops ] || { echo 1 > /home/kins/clusters/default/run/proc-sys/upper/kernel/panic_on_oops; }
note_directories /home/kins/clusters/default/run/proc-sys/upper/kernel/keys
mkdir -p /home/kins/clusters/default/run/proc-sys/upper/kernel/keys
[ -e /home/kins/clusters/default/run/proc-sys/upper/kernel/keys/root_maxkeys ] || note 'rm -f /home/kins/clusters/default/run/proc-sys/upper/kernel/keys/root_maxkeys'
[ -e /home/kins/clusters/default/run/proc-sys/upper/kernel/keys/root_maxkeys ] || { echo 1000000 > /home/kins/clusters/default/run/proc-sys/upper/kernel/keys/root_maxkeys; }
note_directories /home/kins/clusters/default/run/proc-sys/upper/kernel/keys
mkdir -p /home/kins/clusters/default/run/proc-sys/upper/kernel/keys
[ -e /home/kins/clusters/default/run/proc-sys/upper/kernel/keys/root_maxbytes ] || note 'rm -f /home/kins/clusters/default/run/proc-sys/upper/kernel/keys/root_maxbytes'
[ -e /home/kins/clusters/default/run/proc-sys/upper/kernel/keys/root_maxbytes ] || { echo 25000000 > /home/kins/clusters/default/run/proc-sys/upper/kernel/keys/root_maxbytes; }
note_directories /home/kins/clusters/default/run/proc-sys/upper/vm
mkdir -p /home/kins/clusters/default/run/proc-sys/upper/vm
[ -e /home/kins/clusters/default/run/proc-sys/upper/vm/overcommit_memory ] || note 'rm -f /home/kins/clusters/default/run/proc-sys/upper/vm/overcommit_memory'
[ -e /home/kins/clusters/default/run/proc-sys/upper/vm/overcommit_memory ] || { echo 1 > /home/kins/clusters/default/run/proc-sys/upper/vm/overcommit_memory; }
note_directories /home/kins/clusters/default/run/proc-sys/upper/vm
mkdir -p /home/kins/clusters/default/run/proc-sys/upper/vm
[ -e /home/kins/clusters/default/run/proc-sys/upper/vm/panic_on_oom ] || note 'rm -f /home/kins/clusters/default/run/proc-sys/upper/vm/panic_on_oom'
[ -e /home/kins/clusters/default/run/proc-sys/upper/vm/panic_on_oom ] || { echo 0 > /home/kins/clusters/default/run/proc-sys/upper/vm/panic_on_oom; }

# fact overlay_on_proc_sys
mount -t overlay -o lowerdir=/proc/sys,upperdir=/home/kins/clusters/default/run/proc-sys/upper,workdir=/home/kins/clusters/default/run/proc-sys/work kins /proc/sys

# fact kernel_messages: [Errno 2] No such file or directory: '/dev/kmsg'
[ -e /dev/kmsg ] || note 'rm -f /dev/kmsg'
[ -e /dev/kmsg ] || { : > /dev/kmsg; }
mount --bind /dev/null /dev/kmsg && mount --make-private /dev/kmsg

# fact control_groups_v1_mountable
mount -t tmpfs -o mode=0755 kins /sys/fs/cgroup
note_directories /sys/fs/cgroup/cpu
mkdir -p /sys/fs/cgroup/cpu
mount -t cgroup -o cpu cgroup /sys/fs/cgroup/cpu
note_groups /sys/fs/cgroup/cpu/kins-default-0a1b2c cpu
mkdir -p /sys/fs/cgroup/cpu/kins-default-0a1b2c
note_directories /sys/fs/cgroup/cpuacct
mkdir -p /sys/fs/cgroup/cpuacct
mount -t cgroup -o cpuacct cgroup /sys/fs/cgroup/cpuacct
note_groups /sys/fs/cgroup/cpuacct/kins-default-0a1b2c cpuacct
mkdir -p /sys/fs/cgroup/cpuacct/kins-default-0a1b2c
note_directories /sys/fs/cgroup/cpuset
mkdir -p /sys/fs/cgroup/cpuset
mount -t cgroup -o cpuset cgroup /sys/fs/cgroup/cpuset
note_groups /sys/fs/cgroup/cpuset/kins-default-0a1b2c cpuset
mkdir -p /sys/fs/cgroup/cpuset/kins-default-0a1b2c
note_directories /sys/fs/cgroup/devices
mkdir -p /sys/fs/cgroup/devices
mount -t cgroup -o devices cgroup /sys/fs/cgroup/devices
note_groups /sys/fs/cgroup/devices/kins-default-0a1b2c devices
mkdir -p /sys/fs/cgroup/devices/kins-default-0a1b2c
note_directories /sys/fs/cgroup/memory
mkdir -p /sys/fs/cgroup/memory
mount -t cgroup -o memory cgroup /sys/fs/cgroup/memory
note_groups /sys/fs/cgroup/memory/kins-default-0a1b2c memory
mkdir -p /sys/fs/cgroup/memory/kins-default-0a1b2c
note_directories /sys/fs/cgroup/pids
mkdir -p /sys/fs/cgroup/pids
mount -t cgroup -o pids cgroup /sys/fs/cgroup/pids
note_groups /sys/fs/cgroup/pids/kins-default-0a1b2c pids
mkdir -p /sys/fs/cgroup/pids/kins-default-0a1b2c

# kubelet and containerd
note_directories /var/lib/kubelet
mkdir -p /var/lib/kubelet
note_directories /var/log/pods
mkdir -p /var/log/pods
note_directories /var/log/containers
mkdir -p /var/log/containers
note_directories /var/lib/cni
mkdir -p /var/lib/cni
note_directories /run/mount
mkdir -p /run/mount
note_directories /run/containerd
mkdir -p /run/containerd

# kubelet
mount --bind /home/kins/clusters/default/kubelet /var/lib/kubelet && mount --make-private /var/lib/kubelet

# mount propagation into containers (kubelet)
mount --make-rshared /var/lib/kubelet

# kubelet
mount --bind /home/kins/clusters/default/pod-logs /var/log/pods && mount --make-private /var/log/pods
mount -t tmpfs kins /var/log/containers

# containerd
mount -t tmpfs kins /var/lib/cni

# programs (mount keeps its own table there)
mount -t tmpfs kins /run/mount

# containerd
mount -t tmpfs -o mode=0711 kins /run/containerd && mount --make-private /run/containerd
mount --bind /home/kins/clusters/default/containerd /home/kins/clusters/default/containerd && mount --make-private /home/kins/clusters/default/containerd

# fact has_hosts_file
[ -e /etc/hosts ] || note 'rm -f /etc/hosts'
[ -e /etc/hosts ] || { echo '127.0.0.1 localhost' > /etc/hosts; }

### The node's programs

component containerd env -i \
    PATH=/opt/kins/lib/kins/_bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/home/kins/clusters/default \
    TMPDIR=/home/kins/clusters/default/tmp \
    LANG=C.UTF-8 \
    /opt/kins/lib/kins/_bin/containerd \
    --config=/home/kins/clusters/default/config/containerd.toml \
    --log-level=warn

### What components find in the API server, and those that wait for it

wait_for 'the API server is ready' kubectl get --raw=/readyz

# provisioner
kubectl apply --server-side --force-conflicts --field-manager=kins --filename=- <<'END'
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: kins:provisioner
rules:
- apiGroups:
  - ''
  resources:
  - persistentvolumes
  verbs:
  - get
  - list
  - watch
  - create
  - patch
  - delete
- apiGroups:
  - ''
  resources:
  - persistentvolumeclaims
  verbs:
  - get
  - list
  - watch
  - update
- apiGroups:
  - storage.k8s.io
  resources:
  - storageclasses
  verbs:
  - get
  - list
  - watch
- apiGroups:
  - ''
  resources:
  - events
  verbs:
  - create
  - patch
  - update
- apiGroups:
  - ''
  resources:
  - nodes
  verbs:
  - get
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: kins:provisioner
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: kins:provisioner
subjects:
- apiGroup: rbac.authorization.k8s.io
  kind: User
  name: kins:provisioner
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata:
  name: standard
  annotations:
    storageclass.kubernetes.io/is-default-class: 'true'
provisioner: kins/directory
reclaimPolicy: Delete
volumeBindingMode: WaitForFirstConsumer
END

# service-proxy
kubectl apply --server-side --force-conflicts --field-manager=kins --filename=- <<'END'
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: kins:service-proxy
rules:
- apiGroups:
  - ''
  resources:
  - services
  - pods
  verbs:
  - list
  - watch
- apiGroups:
  - discovery.k8s.io
  resources:
  - endpointslices
  verbs:
  - list
  - watch
- apiGroups:
  - ''
  resources:
  - services/status
  verbs:
  - patch
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: kins:service-proxy
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: kins:service-proxy
subjects:
- apiGroup: rbac.authorization.k8s.io
  kind: User
  name: kins:service-proxy
END

# coredns
kubectl apply --server-side --force-conflicts --field-manager=kins --filename=- <<'END'
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: system:coredns
rules:
- apiGroups:
  - ''
  resources:
  - services
  - namespaces
  verbs:
  - list
  - watch
- apiGroups:
  - discovery.k8s.io
  resources:
  - endpointslices
  verbs:
  - list
  - watch
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: system:coredns
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: system:coredns
subjects:
- apiGroup: rbac.authorization.k8s.io
  kind: User
  name: system:coredns
---
apiVersion: v1
kind: Service
metadata:
  name: kube-dns
  namespace: kube-system
  labels:
    k8s-app: kube-dns
spec:
  clusterIP: '10.43.0.10'
  ports:
  - name: dns
    protocol: UDP
    port: 53
  - name: dns-tcp
    protocol: TCP
    port: 53
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: kube-dns
  namespace: kube-system
  labels:
    kubernetes.io/service-name: kube-dns
    endpointslice.kubernetes.io/managed-by: kins
addressType: IPv4
endpoints:
- addresses:
  - '10.43.0.10'
  conditions:
    ready: true
ports:
- name: dns
  protocol: UDP
  port: 53
- name: dns-tcp
  protocol: TCP
  port: 53
END

# metrics-server
kubectl apply --server-side --force-conflicts --field-manager=kins --filename=- <<'END'
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: kins:metrics-server
rules:
- apiGroups:
  - ''
  resources:
  - pods
  - nodes
  verbs:
  - get
  - list
  - watch
- apiGroups:
  - ''
  resources:
  - nodes/metrics
  verbs:
  - get
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: kins:metrics-server
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: kins:metrics-server
subjects:
- apiGroup: rbac.authorization.k8s.io
  kind: User
  name: kins:metrics-server
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: kins:metrics-server:system:auth-delegator
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: system:auth-delegator
subjects:
- apiGroup: rbac.authorization.k8s.io
  kind: User
  name: kins:metrics-server
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: kins:metrics-server-authentication-reader
  namespace: kube-system
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: extension-apiserver-authentication-reader
subjects:
- apiGroup: rbac.authorization.k8s.io
  kind: User
  name: kins:metrics-server
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: kins:metrics-reader
  labels:
    rbac.authorization.k8s.io/aggregate-to-view: 'true'
    rbac.authorization.k8s.io/aggregate-to-edit: 'true'
    rbac.authorization.k8s.io/aggregate-to-admin: 'true'
rules:
- apiGroups:
  - metrics.k8s.io
  resources:
  - pods
  - nodes
  verbs:
  - get
  - list
  - watch
---
apiVersion: v1
kind: Service
metadata:
  name: metrics-server
  namespace: kube-system
spec:
  ports:
  - name: https
    port: 443
    targetPort: 40006
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: metrics-server
  namespace: kube-system
  labels:
    kubernetes.io/service-name: metrics-server
addressType: IPv4
endpoints:
- addresses:
  - '10.42.0.1'
  conditions:
    ready: true
ports:
- name: https
  port: 40006
  protocol: TCP
END

# kubelet
kubectl apply --server-side --force-conflicts --field-manager=kins --filename=- <<'END'
apiVersion: v1
kind: Node
metadata:
  name: kins-default
  labels:
    kubernetes.io/hostname: kins-default
status:
  addresses:
  - type: InternalIP
    address: '10.42.0.1'
  - type: Hostname
    address: kins-default
END

# provisioner needs kube-apiserver
component provisioner env -i \
    PATH=/opt/kins/lib/kins/_bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/home/kins/clusters/default \
    TMPDIR=/home/kins/clusters/default/tmp \
    LANG=C.UTF-8 \
    /opt/kins/lib/kins/_bin/kins-engine \
    provisioner \
    --kubeconfig=/home/kins/clusters/default/config/provisioner.kubeconfig \
    --directory=/home/kins/clusters/default/volumes \
    --node=kins-default

# kubelet needs containerd, kube-apiserver
component kubelet env -i \
    PATH=/opt/kins/lib/kins/_bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/home/kins/clusters/default \
    TMPDIR=/home/kins/clusters/default/tmp \
    LANG=C.UTF-8 \
    /opt/kins/lib/kins/_bin/kins-intercept \
    --backend \
    auto \
    --rules \
    /home/kins/clusters/default/config/intercept.json \
    -- \
    /opt/kins/lib/kins/_bin/kins-engine \
    kubelet \
    --disable-cadvisor=statistics \
    --await=/home/kins/clusters/default/run/containerd.sock \
    --forward-ports=/home/kins/clusters/default/run/forwarding.sock \
    --config=/home/kins/clusters/default/config/kubelet.json \
    --kubeconfig=/home/kins/clusters/default/config/kubelet.kubeconfig \
    --root-dir=/var/lib/kubelet \
    --hostname-override=kins-default \
    --cloud-provider=external

# service-proxy needs kube-apiserver
component service-proxy env -i \
    PATH=/opt/kins/lib/kins/_bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/home/kins/clusters/default \
    TMPDIR=/home/kins/clusters/default/tmp \
    LANG=C.UTF-8 \
    /opt/kins/lib/kins/_bin/kins-engine \
    service-proxy \
    --kubeconfig=/home/kins/clusters/default/config/service-proxy.kubeconfig \
    --node-name=kins-default \
    --node-address=10.42.0.1 \
    --node-address=127.0.0.1 \
    --service-range=10.43.0.0/16 \
    --load-balancer-range=10.44.0.0/16 \
    --addresses=/home/kins/clusters/default/config/intercept.json \
    --forward=10.42.0.1:40001=127.0.0.1:40001

# coredns needs kube-apiserver
component coredns env -i \
    PATH=/opt/kins/lib/kins/_bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/home/kins/clusters/default \
    TMPDIR=/home/kins/clusters/default/tmp \
    LANG=C.UTF-8 \
    /opt/kins/lib/kins/_bin/coredns \
    -conf \
    /home/kins/clusters/default/config/Corefile

# metrics-server needs kube-apiserver, kubelet
component metrics-server env -i \
    PATH=/opt/kins/lib/kins/_bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/home/kins/clusters/default \
    TMPDIR=/home/kins/clusters/default/tmp \
    LANG=C.UTF-8 \
    /opt/kins/lib/kins/_bin/kins-intercept \
    --backend \
    auto \
    --rules \
    /home/kins/clusters/default/config/intercept.json \
    -- \
    /opt/kins/lib/kins/_bin/kins-engine \
    metrics-server \
    --bind-address=127.42.0.1 \
    --secure-port=40006 \
    --kubeconfig=/home/kins/clusters/default/config/metrics-server.kubeconfig \
    --authentication-kubeconfig=/home/kins/clusters/default/config/metrics-server.kubeconfig \
    --authorization-kubeconfig=/home/kins/clusters/default/config/metrics-server.kubeconfig \
    --tls-cert-file=/home/kins/clusters/default/pki/metrics-server.crt \
    --tls-private-key-file=/home/kins/clusters/default/pki/metrics-server.key \
    --kubelet-certificate-authority=/home/kins/clusters/default/pki/ca.crt \
    --kubelet-preferred-address-types=InternalIP \
    --kubelet-use-node-status-port \
    --metric-resolution=15s

wait_for 'pods are admitted: the default ServiceAccount is there' kubectl get serviceaccount default

wait_for 'containerd listens' test -S /home/kins/clusters/default/run/containerd.sock

# the image that keeps a pod's namespaces
env \
    -i \
    PATH=/opt/kins/lib/kins/_bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/home/kins/clusters/default \
    TMPDIR=/home/kins/clusters/default/tmp \
    LANG=C.UTF-8 \
    /opt/kins/lib/kins/_bin/kins-engine \
    images \
    load \
    --address \
    /home/kins/clusters/default/run/containerd.sock \
    --snapshotter \
    native \
    /opt/kins/lib/kins/_bin/pause.tar

wait_for 'node kins-default is Ready' kubectl wait node/kins-default --for=condition=Ready --timeout=1s

# metrics-server
kubectl apply --server-side --force-conflicts --field-manager=kins --filename=- <<END
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata:
  name: v1beta1.metrics.k8s.io
spec:
  group: metrics.k8s.io
  version: v1beta1
  service:
    name: metrics-server
    namespace: kube-system
    port: 443
  caBundle: $(base64 -w 0 /home/kins/clusters/default/pki/ca.crt)
  groupPriorityMinimum: 100
  versionPriority: 100
END

stay_inside
