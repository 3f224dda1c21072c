"""How it gets everywhere: links, what is sent on them, whom a peer is linked with (pure)."""
