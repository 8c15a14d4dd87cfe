"""Designed, paired experiments: what dropout does to a model, and how sure that is."""
