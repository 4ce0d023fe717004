"""Images outside of the node: what is in a file, whose image a name means, a user's credentials, other engines.

What is done with the node's own store is the engine's (`engine/internal/images`), asked for by `kins.cluster`.
"""
