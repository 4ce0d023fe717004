"""Image archives: what is in a file, before anything is done with it.

Loading is done by the engine against containerd (`engine/internal/images`), asked for by `kins.cluster`.
"""
