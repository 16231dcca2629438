"""Keep every position near a fixed dollar target, live, per print."""

__version__ = "0.1.0"
