"""Names of choices, for flags and files: light to import."""

# The keys of `color.SUBSAMPLINGS`, and `rate.NAMES`; tests compare.
SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")
RATE_MODELS = ("laplace", "learned_cdf", "log_magnitude", "nonzero")
