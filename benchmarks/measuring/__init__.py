"""What the benchmarks share: servers, load, CPU time and the report."""
