"""Read source weights, plan what is transferred, adapt channels, freeze stages and report all of it."""
