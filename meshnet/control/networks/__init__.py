"""Networks on this host: which are served, their devices, and who is attached."""
