"""What calibration images do inside a float file, for each runtime."""
