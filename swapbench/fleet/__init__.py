"""Phones and processors of several hosts: a scheduler, the hosts that join it, and who sends jobs to them.

Dask `distributed` brings every job to a host that has what it needs. What travels is plain: a job is the
words of a `swapbench` command with its files by digest, and its result is the files that the command wrote.
"""
