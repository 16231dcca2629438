"""The fault simulation: the whole daemon against the local Alpaca, on a virtual clock, with everything going wrong."""
