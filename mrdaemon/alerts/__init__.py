"""Ways out: what people are told, how often, and over which channels."""
