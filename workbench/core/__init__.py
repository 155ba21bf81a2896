"""What every room stands on: errors, seeds, parameters, results, saving."""
