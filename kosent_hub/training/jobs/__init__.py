"""A training as a job on the Hub's machines: `kosent-train ... --on hf-jobs`."""
