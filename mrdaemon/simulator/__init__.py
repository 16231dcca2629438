"""A local Alpaca: an exchange, an account and market data, as the real service shows them, without a network."""
