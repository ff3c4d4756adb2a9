"""Chat datasets: reading them, why one cannot be read, and where their text may go."""
