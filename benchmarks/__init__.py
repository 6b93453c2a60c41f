"""Figures that the project claims, each measured by a script of its own; `report` prints them all.

Speeds are ratios of two sides that were measured in one run, interleaved; effects are judged by `pretrain.judge`.
Nothing here is imported by the app.
"""
