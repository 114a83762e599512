"""What ``bench_techniques.py`` is made of: workloads, recipes, peers, timing, tables."""
