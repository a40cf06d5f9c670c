"""Documents in, batches out: token shards on disk, and the order in which training sees them."""
