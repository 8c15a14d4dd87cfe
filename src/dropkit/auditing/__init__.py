"""Is dropout wired up right in this model? Findings of rules, from a few runs that are watched."""
