"""Addresses and pod networking: which ranges a cluster uses, and the CNI configuration for them.

The plugin itself is a Go program (`engine/internal/cni`); links are made by steps (`kins.plan`).
"""
