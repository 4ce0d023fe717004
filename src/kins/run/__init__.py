"""`kins run`: a sandbox prepared for other people's node software, for as long as one command runs.

The steps are those of a cluster's node (`kins.cluster.sandbox_steps`); here is what differs: which directories the
software finds, which control groups it may make, and the processes around it. No cluster, and nothing of its parts.
"""
