"""What feed and broker share about Alpaca: its wire types, the reconnecting socket, the REST client."""
