"""The release check: reports held against a policy."""
