"""The UDP handshakes and data sessions with peers: pure decisions, and `sessions`, which carries them out."""
