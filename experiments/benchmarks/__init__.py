"""Programs that measure the measurement, and write what they find as JSON."""
