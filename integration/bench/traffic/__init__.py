"""Messages of the benchmarks, and those who send them."""
