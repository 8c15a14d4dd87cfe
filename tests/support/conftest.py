"""Scripts that tests run in a process of their own are not to be imported for doctests."""

collect_ignore_glob = ["support_triton_*.py"]
