"""The experiments of a public research report on Kubernetes in gVisor, as measurements that can be repeated.

One module per experiment: what it expects, how it finds out, what the report found, what is measured here. Each runs in
namespaces and a directory of its own, and what it makes is undone. Nothing of a cluster's life depends on this package.
"""
