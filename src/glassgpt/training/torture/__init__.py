"""Faults on purpose: what a kill, a power cut, a full disk or a flipped bit does to a run, on the user's own disk.

Every fault has a positive control, a careless writer under the same fault: unless that is caught, trials mean nothing.
"""
