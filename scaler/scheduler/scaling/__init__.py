"""How much capacity to ask of worker managers: pure functions of a snapshot."""
