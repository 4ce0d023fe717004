#!/bin/sh
# What `kins up` would do in this sandbox now, as a script: cluster 'default', level fake.
#
#   kins plan > plan.sh
#   sh plan.sh                     until Ctrl-C
#   sh plan.sh kubectl get nodes   for as long as a command runs
#
# At its end it takes back everything. kins does the same from the same lists, more of it side by side. Besides, kins
# remembers the cluster for other commands, makes it kubectl's current context, stops it in order, starts what dies after
# a growing pause, and keeps logs within a size. Names and ports below were chosen when the script was printed.
#
# What is missing for more than that:
# - namespaces: [Errno 1] unshare: Operation not permitted (this sandbox does not allow it). a node lives in mount, pid,
#   ipc and uts namespaces of its own. run the sandbox as root with CAP_SYS_ADMIN, or allow user namespaces in it
# - mounts: [Errno 1] unshare: Operation not permitted (this sandbox does not allow it). volumes and containers are
#   mounts. run the sandbox as root with CAP_SYS_ADMIN, or allow user namespaces in it
# - pod_network: [Errno 1] unshare: Operation not permitted (this sandbox does not allow it). pods need network
#   namespaces, joined by veths and a bridge. give the sandbox a network of its own and CAP_NET_ADMIN (gVisor:
#   --network=sandbox or none, not host)
# - control_group_creation: [Errno 13] Permission denied: '/sys/fs/cgroup/cpu'. the node makes a group of its own in
#   each hierarchy that is mounted. mount /sys/fs/cgroup writable, or give the sandbox /dev/fuse, ptrace and seccomp
#   filters
#
# What this level does not do here:
# - simulated: pods on simulated nodes report that they run, and nothing in them does: no logs, no exec, no open ports,
#   no figures, no webhooks; each of these nodes and pods is marked kwok.x-k8s.io/node=fake

set -eu
CLUSTER=/home/kins/clusters/default
ENTER=''

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

need base64 basename cat chmod cp dirname env grep id ln mkdir rm rmdir sed sleep stat tail

if [ "${1-}" != --inside ]; then
    outside "$0" "$@"
    exit
fi

### The cluster's directory

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
  {"name":"kube-apiserver","common_name":"kube-apiserver","dns_names":["localhost","kubernetes","kubernetes.default","kubernetes.default.svc","kubernetes.default.svc.cluster.local"],"ip_addresses":["127.0.0.1","10.42.0.1","10.43.0.1"]},
  {"name":"kwok","common_name":"kins:kwok","ip_addresses":["127.0.0.1"]}
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

# kwok
cat > /home/kins/clusters/default/config/kwok.kubeconfig <<END
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
    client-certificate-data: $(base64 -w 0 /home/kins/clusters/default/pki/kwok.crt)
    client-key-data: $(base64 -w 0 /home/kins/clusters/default/pki/kwok.key)
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
    --kubelet-preferred-address-types=InternalDNS,InternalIP,Hostname \
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
volumeBindingMode: Immediate
END

# kwok
kubectl apply --server-side --force-conflicts --field-manager=kins --filename=- <<'END'
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: kins:kwok
rules:
- apiGroups:
  - ''
  resources:
  - nodes
  verbs:
  - get
  - list
  - watch
- apiGroups:
  - ''
  resources:
  - pods
  verbs:
  - get
  - list
  - watch
  - patch
  - update
  - delete
- apiGroups:
  - ''
  resources:
  - nodes/status
  - pods/status
  verbs:
  - patch
  - update
- apiGroups:
  - coordination.k8s.io
  resources:
  - leases
  verbs:
  - get
  - list
  - watch
  - create
  - patch
  - update
- apiGroups:
  - ''
  resources:
  - events
  verbs:
  - create
  - patch
  - update
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: kins:kwok
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: kins:kwok
subjects:
- apiGroup: rbac.authorization.k8s.io
  kind: User
  name: kins:kwok
---
apiVersion: v1
kind: Node
metadata:
  name: default-fake-0
  labels:
    kubernetes.io/hostname: default-fake-0
    kubernetes.io/arch: amd64
    kubernetes.io/os: linux
    type: kwok
    node-role.kubernetes.io/fake: ''
  annotations:
    kwok.x-k8s.io/node: fake
status:
  addresses:
  - type: InternalIP
    address: '198.19.0.1'
  - type: Hostname
    address: default-fake-0
  - type: InternalDNS
    address: '127.0.0.1'
  nodeInfo:
    architecture: amd64
    operatingSystem: linux
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
    --directory=/home/kins/clusters/default/volumes

# kwok needs kube-apiserver
component kwok env -i \
    PATH=/opt/kins/lib/kins/_bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/home/kins/clusters/default \
    TMPDIR=/home/kins/clusters/default/tmp \
    LANG=C.UTF-8 \
    /opt/kins/lib/kins/_bin/kins-engine \
    kwok \
    --kubeconfig=/home/kins/clusters/default/config/kwok.kubeconfig \
    --pod-range=198.18.0.0/16 \
    --bind-address=127.0.0.1 \
    --port=40007 \
    --tls-cert-file=/home/kins/clusters/default/pki/kwok.crt \
    --tls-private-key-file=/home/kins/clusters/default/pki/kwok.key \
    --client-ca-file=/home/kins/clusters/default/pki/ca.crt

wait_for 'pods are admitted: the default ServiceAccount is there' kubectl get serviceaccount default

wait_for 'node default-fake-0 is Ready' kubectl wait node/default-fake-0 --for=condition=Ready --timeout=1s

stay_inside
