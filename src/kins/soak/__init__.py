"""The watch of a running cluster: what breaks, what grows and what errors appear while it works under a load.

Watches any level from the outside, by the API, the supervisor and the logs, and judges what was seen. Brings no cluster
up and changes none, but for a namespace of its own that it removes.
"""
