"""What launches say: intervals, stopping, modes, drift, comparisons, verdicts; each with source."""
