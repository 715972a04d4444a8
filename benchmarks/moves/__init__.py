"""What moving in costs: from each origin, 10,000 documents that its own package wrote, and adoption of vectors."""
