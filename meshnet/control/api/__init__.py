"""What an operator may ask over HTTP, and the answers."""
