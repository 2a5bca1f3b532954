"""One network computed by several processes, each with its share of a batch."""
