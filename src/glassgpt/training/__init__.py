"""From batches to weights: configuration, objective, optimizer, loop, and checkpoints that survive anything."""
