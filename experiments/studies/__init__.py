"""Studies: small programs that answer one question about the estimator or the plane, with figures."""
