"""The pipeline: recipes, graph, local runner and command line."""
