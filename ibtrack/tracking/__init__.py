"""When a measurement is due: measure, record, log."""
