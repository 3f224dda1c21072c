"""The forwarder: the data plane's own process, without capabilities.

A frame's walk: `outbound` (TAP) → `switch` → `record` → session → `datagram`, one sendmsg; `inbound` mirrors it.
`loop` owns the readers and the clock, `verbs` and `facts` are the two directions of the boundary.
"""
