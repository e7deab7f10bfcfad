"""A model's sites, edges and paths, interventions in them, and chains of its layers."""
