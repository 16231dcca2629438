"""What the demo brings along: real daily closes and a configuration."""
