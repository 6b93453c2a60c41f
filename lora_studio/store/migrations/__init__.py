"""Migrations of the workspace's database, run whenever one is opened (see `run`).

A change of `tables` needs a new file in `versions`, whose `down_revision` is the newest one before it.
"""
