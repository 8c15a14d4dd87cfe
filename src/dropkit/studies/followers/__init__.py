"""Programs that show a study while it runs."""
