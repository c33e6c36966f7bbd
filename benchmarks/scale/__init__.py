"""How far one scheduler goes, measured, and how several would share a workload, simulated: the tables of ``docs/scale.md``."""
