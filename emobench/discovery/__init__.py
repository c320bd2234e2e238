"""From SEV groups to an emotion circuit: directions, component ranks, allocation, artifact (method, stages 2-8)."""
