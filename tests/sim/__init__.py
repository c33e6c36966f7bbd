"""A whole cluster in one process: the real states over the real codec, on a seeded network under a fake clock."""
