"""Weights in and out of files: one table of names, and every format of the family read, written and compared.

Knows nothing of training.
"""
