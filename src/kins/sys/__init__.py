"""Thin wrappers over libc and the kernel's own interfaces: mounts, namespaces, processes, links.

No policy: what to mount or unshare, and what a failure means for a cluster, is decided above.
"""
