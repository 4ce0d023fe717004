#!/bin/sh
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
