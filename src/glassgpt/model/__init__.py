"""The model of the family: its configuration, its modules, its cache and the seam for attention."""
