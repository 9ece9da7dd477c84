"""What a fleet of nodes would need: a model of discrete events, calibrated with measurements of the real parts."""
