"""Redis in virtual time: the exchange's own functions over a model of the few commands that they and the nodes use."""
