"""Laws, searched for counter-examples."""
