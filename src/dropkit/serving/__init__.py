"""From a trained model to one in service: freeze, guard, probe, monitor, release gate."""
