"""One server, first come, first served: how long each arrival is under way (Lindley's recursion, for all at once)."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def departures_s(arrivals_s: Floats, services_s: Floats) -> Floats:
    """When each is done. `arrivals_s` rise. A departure is the later of arrival and the departure before, plus service;
    with the sums of services taken out, that is a running maximum."""
    sums = np.cumsum(services_s)
    waited: Floats = np.maximum.accumulate(arrivals_s - (sums - services_s)) + sums
    return waited


def poisson_s(rate: float, seconds: float, random: np.random.Generator) -> Floats:
    """Moments of arrival."""
    count = random.poisson(rate * seconds)
    return np.sort(random.uniform(0, seconds, count))


def paced_s(every_s: float, sources: int, seconds: float, random: np.random.Generator) -> Floats:
    """Moments of `sources` that each come round every so often, out of step."""
    phases = random.uniform(0, every_s, sources)
    rounds = np.arange(0, seconds, every_s)
    return np.sort((phases[:, None] + rounds[None, :]).ravel())
