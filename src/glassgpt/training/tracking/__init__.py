"""Trackers of experiments as hooks, each in the one file that imports its package."""
