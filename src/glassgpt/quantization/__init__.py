"""Matrices in fewer bits: int8 and int4 storages, the swap, and the choice of a precision with its kernels."""
