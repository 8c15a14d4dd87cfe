"""Leverage, cost and risk of each place of dropout, from what enters a model to what comes out."""
