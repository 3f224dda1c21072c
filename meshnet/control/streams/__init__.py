"""TCP connections and the records on them, for links and for joins."""
