"""The training of the staging network: recipes, samples, the loop, its pictures."""
