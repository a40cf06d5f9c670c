"""Weights in fewer bits: a finished model's matrices become int8 or int4, everything else stays float32."""
