"""The command line: one module per command; each parses, calls the API and renders.

stdout is data, stderr is talk. No decision about a cluster is taken here.
"""
